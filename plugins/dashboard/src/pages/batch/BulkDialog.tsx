/** Asking before many jobs of a batch are cancelled or run again: what it would do, and to which. */

import { Skeleton, Stack, Text } from "@chakra-ui/react";
import { useQuery } from "@tanstack/react-query";

import { call, type ApiError } from "../../app/api";
import { useHome } from "../../app/home";
import type { Answer } from "../../app/types";
import { number, plural, shortId } from "../../lib/format";
import { look } from "../../lib/states";
import { duration } from "../../lib/time";
import { Confirm } from "../../parts/Confirm";
import { Notice } from "../../parts/Notice";

export interface Bulk {
  action: "cancel" | "retry";
  /** The filter words; the server does it to what they find. */
  filter: Record<string, string>;
  /** By an administrator's right. */
  asAdmin: boolean;
  /** Whose batch it is, if it is somebody else's. */
  owner: string | null;
}

type Preview = Answer<"api_bridge__rest__actions__Preview">;

const TYPED_FROM = 20;

/** The question. accepted: is given the id under which the server does it. */
export function BulkDialog({
  bulk,
  onClose,
  accepted,
}: {
  bulk: Bulk;
  onClose: () => void;
  accepted: (action: string) => void;
}) {
  const { api } = useHome();
  const { action, filter, asAdmin, owner } = bulk;
  const by = asAdmin ? "?as_admin=true" : "";
  const asked = useQuery<Preview, ApiError>({
    queryKey: ["preview", api, action, filter, asAdmin],
    queryFn: () =>
      call<Preview>(`${api}/actions/preview${by}`, {
        method: "POST",
        // What it would do can be seen before a reason is given.
        body: { action, filter, ...(asAdmin ? { reason: "a look at what it would do" } : {}) },
      }),
    staleTime: 0,
    gcTime: 0,
  });
  const found = asked.data;
  const retry = action === "retry";
  const count = found?.jobs ?? 0;
  const verb = retry ? "Retry" : "Cancel";
  const act = async (reason: string) => {
    if (!found?.jobs) throw new Error("There is no job to do this to.");
    const answer = await call<Answer<"Accepted">>(`${api}/actions${by}`, {
      method: "POST",
      body: {
        action,
        filter,
        expect: found.jobs,
        key: crypto.randomUUID(),
        ...(reason ? { reason } : {}),
      },
    });
    accepted(answer.id);
  };
  return (
    <Confirm
      open
      onClose={onClose}
      title={retry ? "Retry these jobs?" : "Cancel these jobs?"}
      verb={found ? `${verb} ${plural(count, "job")}` : verb}
      keep={retry ? "Leave them" : "Keep running"}
      danger={!retry}
      reason={owner === null ? undefined : "required"}
      reasonHelp={owner === null ? undefined : `${owner} will see it.`}
      type={count > TYPED_FROM ? String(count) : undefined}
      act={act}
    >
      {found ? (
        <Told preview={found} />
      ) : asked.error ? (
        <Notice kind="error" title="What it would do cannot be told">
          {asked.error.message}
        </Notice>
      ) : (
        <Skeleton height="24" aria-label="Counting the jobs" />
      )}
    </Confirm>
  );
}

function Told({ preview }: { preview: Preview }) {
  const retry = preview.action === "retry";
  const lost = preview.hours_lost;
  const expected = preview.expected_cpu_hours;
  return (
    <Stack gap="2">
      <Text fontWeight="medium">
        {retry
          ? `${plural(preview.jobs, "job")} will run again with the same inputs, as new attempts.`
          : `${plural(preview.jobs, "job")} that have not ended will be cancelled.`}
      </Text>
      <Text color="fg.muted">
        {retry
          ? expected === null || expected === undefined
            ? "There are too few earlier runs to say how many CPU hours it takes."
            : `About ${number(expected, expected < 10 ? 1 : 0)} CPU hours are expected.`
          : lost > 0
            ? `${number(lost, 1)} hours of work are lost.`
            : "None of them has run, so no work is lost."}
      </Text>
      {preview.sample.length > 0 && (
        <Stack as="ul" gap="0" listStyleType="none" fontSize="sm" aria-label="Some of them">
          {preview.sample.map((job) => (
            <Text as="li" key={job.id} overflowWrap="anywhere">
              <Text as="span" fontFamily="mono" title={job.id}>
                {shortId(job.id)}…{job.id.slice(-4)}
              </Text>{" "}
              {look(job.status).word.toLowerCase()}
              {job.run_ms ? `, ran ${duration(job.run_ms)}` : ""}{" "}
              <Text as="span" color="fg.muted">
                <bdi>{job.method}</bdi>
              </Text>
            </Text>
          ))}
          {preview.jobs > preview.sample.length && (
            <Text as="li" color="fg.muted">
              and {number(preview.jobs - preview.sample.length)} more
            </Text>
          )}
        </Stack>
      )}
      {preview.excluded.map(({ reason, count }) => (
        <Text key={reason} fontSize="sm" color="warning.fg" overflowWrap="anywhere">
          Left out: {plural(count, "job")}, because {reason}
        </Text>
      ))}
    </Stack>
  );
}
