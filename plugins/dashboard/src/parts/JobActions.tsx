/** Cancelling and retrying one job or batch: the question, the call, and what is said of it. */

import { Stack, Text } from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useMemo, useState, type ReactNode } from "react";

import { call } from "../app/api";
import { noteCancel } from "../app/asked";
import { useHome } from "../app/home";
import { pokeLists } from "../app/jobList";
import { useMe } from "../app/me";
import { plural } from "../lib/format";
import { isLive } from "../lib/states";
import { query } from "../lib/words";
import { Confirm } from "./Confirm";
import { Span } from "./times";
import { say } from "./toasts";

/** What has to be known of a job to act on it. */
export interface Actionable {
  id: string;
  status: string;
  user: string;
  /** As people know it. */
  app: string;
  is_batch?: boolean | null;
  children?: Readonly<Record<string, number>> | null;
  /** When it began to run, ms. */
  running?: number | null;
}

type Asking = { act: "cancel" | "retry"; job: Actionable } | null;

export interface JobWays {
  /** Asks, and then does it. */
  cancel: (job: Actionable) => void;
  retry: (job: Actionable) => void;
}

export interface JobActions extends JobWays {
  /** To be put anywhere in the page. */
  dialog: ReactNode;
}

/** Cancel and retry with their questions. asAdmin: other people's jobs by an administrator's right.
 * done: called after the server has accepted. */
export function useJobActions({
  asAdmin = false,
  done,
}: { asAdmin?: boolean; done?: () => void } = {}): JobActions {
  const { api } = useHome();
  const me = useMe();
  const client = useQueryClient();
  const [asking, setAsking] = useState<Asking>(null);
  const close = useCallback(() => setAsking(null), []);
  const cancel = useCallback((job: Actionable) => setAsking({ act: "cancel", job }), []);
  const retry = useCallback((job: Actionable) => setAsking({ act: "retry", job }), []);

  const act = async ({ act: what, job }: NonNullable<Asking>, reason: string) => {
    const by = query({ as_admin: asAdmin && job.user !== me.user });
    await call(`${api}/jobs/${job.id}/${what}${by}`, {
      method: "POST",
      body: reason ? { reason } : {},
    });
    if (what === "cancel") noteCancel([job.id]);
    else say({ kind: "success", title: job.is_batch ? "Retrying" : `Retrying ${job.app}` });
    pokeLists();
    void client.invalidateQueries({ queryKey: ["api"], refetchType: "active" });
    done?.();
  };

  const dialog = asking && (
    <Question
      asking={asking}
      others={asking.job.user !== me.user}
      close={close}
      act={(reason) => act(asking, reason)}
    />
  );
  const ways = useMemo(() => ({ cancel, retry }), [cancel, retry]);
  return { ...ways, dialog };
}

function Question({
  asking: { act: what, job },
  others,
  close,
  act,
}: {
  asking: NonNullable<Asking>;
  others: boolean;
  close: () => void;
  act: (reason: string) => Promise<unknown>;
}) {
  const thing = job.is_batch ? "batch" : "job";
  const whose = others && (
    <Text>
      It belongs to <bdi>{job.user}</bdi>, who will see your reason.
    </Text>
  );
  const name = (
    <Text fontWeight="medium" overflowWrap="anywhere">
      <bdi>{job.app}</bdi>
    </Text>
  );
  const reason = others ? "required" : undefined;
  if (what === "retry") {
    const failed = (job.children?.error ?? 0) + (job.children?.terminated ?? 0);
    return (
      <Confirm
        open
        onClose={close}
        title={`Retry this ${thing}?`}
        verb={job.is_batch ? `Retry failed (${failed})` : "Retry job"}
        keep="Leave it"
        danger={false}
        reason={reason}
        act={act}
      >
        <Stack gap="2">
          {name}
          <Text>
            {job.is_batch
              ? `${plural(failed, "job")} that failed or were cancelled run again with the same inputs.`
              : "It runs again with the same inputs, as a new attempt."}
          </Text>
          {whose}
        </Stack>
      </Confirm>
    );
  }
  const live = Object.entries(job.children ?? {}).reduce(
    (sum, [state, count]) => (isLive(state) ? sum + count : sum),
    0,
  );
  return (
    <Confirm
      open
      onClose={close}
      title={`Cancel this ${thing}?`}
      verb={job.is_batch ? `Cancel all (${live})` : "Cancel job"}
      keep="Keep running"
      reason={reason}
      type={job.is_batch && live > 20 ? String(live) : undefined}
      act={act}
    >
      <Stack gap="2">
        {name}
        {job.is_batch ? (
          <Text>{plural(live, "job")} that have not ended will be cancelled.</Text>
        ) : job.status === "running" && job.running ? (
          <Text>
            It has run for <Span from={job.running} />; that work is lost.
          </Text>
        ) : (
          <Text>It has not begun to run, so no work is lost.</Text>
        )}
        {whose}
      </Stack>
    </Confirm>
  );
}
