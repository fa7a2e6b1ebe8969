/** The page of a batch: `/batches/:id?status=error`. */

import { Box, Skeleton, Stack } from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useParams, useSearchParams } from "react-router-dom";

import { call, said } from "../../app/api";
import { useHome } from "../../app/home";
import { useGo } from "../../app/links";
import { useLive } from "../../app/live";
import { pokeLists } from "../../app/jobList";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { stale } from "../../lib/stale";
import { isLive } from "../../lib/states";
import { query, withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { Section } from "../../parts/Section";
import { say } from "../../parts/toasts";
import { ActionResult } from "./ActionResult";
import { BulkDialog, type Bulk } from "./BulkDialog";
import { Children, type Chosen } from "./Children";
import { ChildGrid } from "./ChildGrid";
import { Failures, wordsOfFailure, type Failure } from "./Failures";
import { follow } from "./follow";
import { Gantt } from "./Gantt";
import { unpacked } from "./grid";
import { Header } from "./Header";
import { Stages } from "./Stages";
import { liveCount, type BatchPage } from "./words";

const SUMMARY_MS = 5000;
const GRID_MS = 15_000;

export default function Batch() {
  const { id = "" } = useParams();
  const me = useMe();
  const every = (data: BatchPage | undefined) => (data?.end ? null : SUMMARY_MS);
  const path = `/batches/${encodeURIComponent(id)}`;
  // Administrators read every batch by their right; their own they change as owners.
  const asAdmin = me.is_admin || me.is_admin_reader;
  const live = useLive<BatchPage>(path + query({ as_admin: asAdmin }), { every });
  if (live.data)
    return (
      <Stack
        gap="0"
        {...stale(live.failedAt)}
        // The theme sets it for each element, so that what stands in a <bdi> would not inherit it.
        css={{ "& bdi": { overflowWrap: "anywhere" } }}
      >
        <Trouble live={live} />
        <Known
          key={live.data.id}
          batch={live.data}
          asAdmin={asAdmin}
          aside={<Freshness live={live} />}
        />
      </Stack>
    );
  if (live.error?.hidden) return <Empty title="No such job, or you may not see it." />;
  if (live.error) return <Trouble live={live} />;
  return <BatchSkeleton />;
}

function Known({
  batch,
  asAdmin,
  aside,
}: {
  batch: BatchPage;
  asAdmin: boolean;
  aside: React.ReactNode;
}) {
  const { api } = useHome();
  const me = useMe();
  const client = useQueryClient();
  const [search, setSearch] = useSearchParams();
  const [bulk, setBulk] = useState<Bulk | null>(null);
  const others = batch.owner !== me.user;
  const mayAct = me.may_write && (!others || !asAdmin || me.is_admin);
  const failed = batch.counts.error ?? 0;
  const ongoing = batch.end === null;
  const change = useCallback(
    (words: Record<string, string | null>) =>
      setSearch((before) => withWords(before, words), { replace: true, preventScrollReset: true }),
    [setSearch],
  );
  const chosen: Chosen = {
    status: search.get("status") ?? undefined,
    failure: search.get("failure") ?? undefined,
    error: search.get("error") ?? undefined,
  };
  const action = search.get("action");
  const of = `/batches/${batch.id}`;
  const by = query({ as_admin: asAdmin });
  const failures = useLive<Answer<"Failures">>(failed > 0 ? `${of}/errors${by}` : null, {
    every: ongoing ? GRID_MS : null,
  });
  useAgain(failures.refresh, failed);

  const accepted = (actionId: string) => {
    change({ action: actionId });
    void follow(`${api}/actions/${actionId}${by}`, () => {
      pokeLists();
      void client.invalidateQueries({ queryKey: ["api"], refetchType: "active" });
    });
  };
  return (
    <>
      <Header
        batch={batch}
        asAdmin={asAdmin}
        aside={aside}
        ask={
          mayAct
            ? (what, status) =>
                setBulk({
                  action: what,
                  filter: { batch: batch.id, status },
                  asAdmin: asAdmin && others,
                  owner: others ? batch.owner : null,
                })
            : null
        }
      />
      {action && (
        <Box mt="3">
          <ActionResult id={action} asAdmin={asAdmin} onClose={() => change({ action: null })} />
        </Box>
      )}
      {failed > 0 && (
        <Section id="failures" title="Failures">
          <Failures
            live={failures}
            chosen={(group) => isChosen(group, chosen)}
            onChoose={(group) =>
              change(group ? wordsOfFailure(group) : { status: null, failure: null, error: null })
            }
          />
        </Section>
      )}
      <Section id="stages" title={batch.stages.length > 1 ? "Stages" : "Timeline"}>
        {batch.stages.length > 1 && <Stages batch={batch} />}
        <Gantt batch={batch} />
      </Section>
      <GridSection batch={batch} by={by} chosen={chosen} />
      <Children batch={batch} chosen={chosen} onChoose={change} asAdmin={asAdmin} />
      {bulk && <BulkDialog bulk={bulk} onClose={() => setBulk(null)} accepted={accepted} />}
    </>
  );
}

function isChosen(group: Failure, chosen: Chosen): boolean {
  const words = wordsOfFailure(group);
  return (
    (words.failure ?? undefined) === chosen.failure && (words.error ?? undefined) === chosen.error
  );
}

/** Reads anew when a number has changed. */
function useAgain(refresh: () => void, when: number): void {
  const seen = useRef(when);
  useEffect(() => {
    if (seen.current === when) return;
    seen.current = when;
    refresh();
  }, [when, refresh]);
}

function GridSection({ batch, by, chosen }: { batch: BatchPage; by: string; chosen: Chosen }) {
  const { api } = useHome();
  const go = useGo();
  const [search, setSearch] = useSearchParams();
  const live = useLive<Answer<"Grid">>(batch.children ? `/batches/${batch.id}/grid${by}` : null, {
    every: liveCount(batch.counts) ? GRID_MS : null,
  });
  const { data } = live;
  const codes = useMemo(() => (data ? unpacked(data.states, data.children) : null), [data]);
  const open = useCallback(
    (place: number) => {
      const at = query({ from: place, limit: 1, as_admin: by !== "" });
      call<Answer<"GridIds">>(`${api}/batches/${batch.id}/grid/ids${at}`)
        .then(({ ids: [id] }) => id && go(`/jobs/${id}`))
        .catch((problem: unknown) =>
          say({ kind: "error", title: "The job cannot be opened", description: said(problem) }),
        );
    },
    [api, batch.id, by, go],
  );
  const { status } = chosen;
  const faded = useCallback(
    (state: string) =>
      status !== undefined &&
      !status.split(",").some((word) => word === state || (word === "live" && isLive(state))),
    [status],
  );
  if (!batch.children) return null;
  return (
    <Section id="grid" title="All children" aside={<Freshness live={live} />}>
      {codes ? (
        <ChildGrid
          codes={codes}
          at={Number(search.get("at")) || 0}
          onAt={(at) =>
            setSearch((before) => withWords(before, { at: String(at) }), {
              replace: true,
              preventScrollReset: true,
            })
          }
          open={open}
          faded={faded}
        />
      ) : live.error ? (
        <Trouble live={live} />
      ) : (
        <Skeleton height="32" />
      )}
    </Section>
  );
}

function BatchSkeleton() {
  return (
    <Stack gap="4" role="status" aria-busy aria-label="Loading">
      <Skeleton height="9" maxWidth="30rem" />
      <Skeleton height="5" />
      <Skeleton height="12" maxWidth="40rem" />
      <Skeleton height="28" />
      <Skeleton height="32" />
      <Skeleton height="80" />
    </Stack>
  );
}
