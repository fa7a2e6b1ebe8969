/** What can be done with the rows that are selected, or with all that a filter finds. */

import { Button, Flex, Skeleton, Stack, Text } from "@chakra-ui/react";
import { Ban, Redo2, X } from "lucide-react";
import { useEffect, useState } from "react";

import { said } from "../app/api";
import { noteCancel } from "../app/asked";
import { begin, preview, type BulkWish, type Preview } from "../app/bulk";
import { useHome } from "../app/home";
import { useMe } from "../app/me";
import { pokeLists } from "../app/jobList";
import type { Row } from "../app/types";
import { number, plural, shortId } from "../lib/format";
import { look } from "../lib/states";
import { Confirm } from "./Confirm";
import { Notice } from "./Notice";

/** More jobs than this are confirmed by typing their number. */
const TYPED = 20;

export interface BulkBarProps {
  selected: ReadonlySet<string>;
  clear: () => void;
  /** The rows that were selected from. */
  rows: readonly Row[];
  asAdmin?: boolean;
}

/** Shown while rows are selected. */
export function BulkBar({ selected, clear, rows, asAdmin = false }: BulkBarProps) {
  const me = useMe();
  const [wish, setWish] = useState<BulkWish | null>(null);
  const chosen = rows.filter(({ id }) => selected.has(id));
  if (!selected.size) return null;
  const cancellable = chosen.filter((row) => row.can_cancel);
  const retryable = chosen.filter((row) => row.can_retry);
  const others = chosen.some((row) => row.user !== me.user);
  const ask = (action: BulkWish["action"], of: readonly Row[]) =>
    setWish({ action, ids: of.map(({ id }) => id), asAdmin: asAdmin && others });
  return (
    <Flex
      align="center"
      gap="2"
      wrap="wrap"
      bg="brand.subtle"
      borderRadius="md"
      px="3"
      py="1.5"
      mb="2"
      role="group"
      aria-label="Selected rows"
    >
      <Text fontSize="sm" fontWeight="medium" me="2">
        {number(selected.size)} selected
      </Text>
      <Button
        size="xs"
        variant="outline"
        disabled={!cancellable.length}
        onClick={() => ask("cancel", cancellable)}
      >
        <Ban size={14} aria-hidden /> Cancel ({number(cancellable.length)})
      </Button>
      <Button
        size="xs"
        variant="outline"
        disabled={!retryable.length}
        onClick={() => ask("retry", retryable)}
      >
        <Redo2 size={14} aria-hidden /> Retry ({number(retryable.length)})
      </Button>
      <Button size="xs" variant="ghost" onClick={clear}>
        <X size={14} aria-hidden /> Clear
      </Button>
      <Text fontSize="xs" color="fg.muted">
        The list holds still while rows are selected.
      </Text>
      {wish && <BulkDialog wish={wish} others={others} close={() => setWish(null)} done={clear} />}
    </Flex>
  );
}

/** Tells what would happen, asks, and has it done. others: not only the reader's own jobs. */
export function BulkDialog({
  wish,
  others,
  close,
  done,
}: {
  wish: BulkWish;
  others: boolean;
  close: () => void;
  done?: () => void;
}) {
  const { api } = useHome();
  const [plan, setPlan] = useState<Preview | null>(null);
  const [error, setError] = useState<string | null>(null);
  // A second press of the button, or a call that was lost, does nothing more.
  const [key] = useState(() => crypto.getRandomValues(new Uint32Array(4)).join("-"));
  useEffect(() => {
    let gone = false;
    preview(api, wish, wish.asAdmin ? "(preview)" : undefined).then(
      (found) => !gone && setPlan(found),
      (problem: unknown) => !gone && setError(said(problem)),
    );
    return () => {
      gone = true;
    };
  }, [api, wish]);
  const cancel = wish.action === "cancel";
  const count = plan ? plural(plan.jobs, "job") : "jobs";
  return (
    <Confirm
      open
      onClose={close}
      title={cancel ? `Cancel ${count}?` : `Retry ${count}?`}
      verb={cancel ? `Cancel ${count}` : `Retry ${count}`}
      keep={cancel ? "Keep running" : "Leave them"}
      danger={cancel}
      reason={others ? "required" : undefined}
      reasonHelp={others ? "Shown to the owners." : undefined}
      type={plan && plan.jobs > TYPED ? String(plan.jobs) : undefined}
      act={async (reason) => {
        if (!plan?.jobs) throw new Error("There is no job that it could be done to.");
        await begin(api, wish, { reason, expect: plan.jobs, key });
        if (cancel && wish.ids) noteCancel(wish.ids);
        pokeLists();
        done?.();
      }}
    >
      {error ? (
        <Notice kind="error" title="It cannot be done">
          {error}
        </Notice>
      ) : plan ? (
        <Plan plan={plan} />
      ) : (
        <Skeleton height="24" aria-label="Loading" />
      )}
    </Confirm>
  );
}

function Plan({ plan }: { plan: Preview }) {
  return (
    <Stack gap="2" fontSize="sm">
      {plan.jobs === 0 && <Text>There is none that it could be done to.</Text>}
      {plan.action === "cancel" && plan.hours_lost > 0 && (
        <Text>{number(plan.hours_lost, 1)} hours of work are lost.</Text>
      )}
      {plan.sample.length > 0 && (
        <Stack as="ul" gap="0" ps="4" listStyleType="disc">
          {plan.sample.slice(0, 5).map((job) => (
            <li key={job.id}>
              <bdi>{job.method ?? "batch"}</bdi> of <bdi>{job.owner}</bdi>,{" "}
              {look(job.status).word.toLowerCase()} ({shortId(job.id)})
            </li>
          ))}
          {plan.jobs > plan.sample.length && (
            <li>and {number(plan.jobs - Math.min(5, plan.sample.length))} more</li>
          )}
        </Stack>
      )}
      {plan.excluded.map(({ reason, count }) => (
        <Text key={reason} color="fg.muted">
          Left out: {number(count)}, because {reason}.
        </Text>
      ))}
    </Stack>
  );
}
