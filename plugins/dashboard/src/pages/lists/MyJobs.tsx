/** "/jobs": what runs and waits, and what ended last. */

import { Box, Flex, Grid, Text } from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { useChildren } from "../../app/children";
import { useHome } from "../../app/home";
import { useJobList } from "../../app/jobList";
import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { useZone } from "../../app/me";
import type { Counts, Row } from "../../app/types";
import { bounded } from "../../lib/format";
import { ENDED, isLive } from "../../lib/states";
import { withWords } from "../../lib/words";
import { BulkBar } from "../../parts/BulkBar";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { useJobActions } from "../../parts/JobActions";
import { JobTable } from "../../parts/JobTable";
import { PageHead, Section } from "../../parts/Section";
import { Tile } from "../../parts/Tile";
import { useStands } from "../../parts/useStands";
import { standing } from "./order";

const LATEST = 10;

/** What the tiles filter by, in the address as `show`. */
const SHOWS = {
  running: ["running"],
  waiting: ["queued", "estimating", "created"],
  finished: [...ENDED],
  failed: ["error"],
} satisfies Record<string, string[]>;
type Show = keyof typeof SHOWS;

function isShow(text: string | null): text is Show {
  return text !== null && Object.hasOwn(SHOWS, text);
}

export default function MyJobs() {
  const [search, setSearch] = useSearchParams();
  const given = search.get("show");
  const show = isShow(given) ? given : null;
  const toggle = (name: Show) =>
    setSearch(withWords(search, { show: show === name ? null : name }), { replace: true });

  const [paused, setPaused] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const live = useJobList({
    scope: "mine",
    words: { status: "live" },
    limit: 100,
    insert: true,
    whole: true,
    paused: paused || selected.size > 0,
  });
  const busy = live.rows.some((row) => isLive(row.status));
  const zone = useZone();
  const client = useQueryClient();
  const { api } = useHome();
  const countsPath = `/jobs/counts?tz=${encodeURIComponent(zone)}`;
  const counts = useLive<Counts>(countsPath, { every: paused ? null : busy ? 10_000 : 30_000 });
  const ends = useEnds(show, counts.data?.today ?? null, paused);
  // What has left the one table belongs in the other, at once.
  const { refresh } = ends;
  const ids = live.loading ? null : live.rows.map(({ id }) => id).join();
  const before = useRef(ids);
  useEffect(() => {
    const known = before.current;
    before.current = ids;
    if (known === null || known === ids) return;
    refresh();
    void client.invalidateQueries({ queryKey: ["api", `${api}${countsPath}`] });
  }, [ids, refresh, client, api, countsPath]);

  const actions = useJobActions();
  const stands = useStands(live.rows);
  const rows = useMemo(() => {
    const states: readonly string[] | null = show ? SHOWS[show] : null;
    return standing(
      states ? live.rows.filter(({ status }) => states.includes(status)) : live.rows,
      stands,
    );
  }, [live.rows, stands, show]);
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const opened = useMemo(
    () => [...live.rows, ...ends.rows].filter(({ id }) => open.has(id)),
    [live.rows, ends.rows, open],
  );
  const children = useChildren(opened);
  const onlyEnds = show === "finished" || show === "failed";
  const batches = { open, onOpen: setOpen, children };

  return (
    <Box>
      <PageHead title="My jobs">
        <Freshness live={live} paused={paused || selected.size > 0} onPause={setPaused} />
      </PageHead>
      <Trouble live={live} />
      <Tiles
        counts={counts.data}
        rows={live.more || live.loading || live.error ? null : live.rows}
        show={show}
        toggle={toggle}
      />
      {!onlyEnds && (
        <>
          <BulkBar selected={selected} clear={() => setSelected(new Set())} rows={live.rows} />
          {rows.length || live.loading ? (
            <JobTable
              label="Jobs that have not ended"
              rows={rows}
              columns={[
                "state",
                "app",
                "narrative",
                "submitted",
                "waited",
                "running",
                "stand",
                "group",
              ]}
              list={live}
              actions={actions}
              stands={stands}
              selected={selected}
              onSelect={setSelected}
              {...batches}
            />
          ) : (
            !live.error && <NothingRuns filtered={show !== null} />
          )}
        </>
      )}
      <Section
        id="ends"
        title={
          show === "failed"
            ? "Failed today"
            : show === "finished"
              ? "Ended today"
              : "Ended most recently"
        }
        aside={
          <PageLink to="/jobs/history" fontSize="sm">
            All that have ended
          </PageLink>
        }
      >
        {ends.rows.length || ends.loading ? (
          <JobTable
            label="Jobs that have ended"
            rows={ends.rows}
            columns={["state", "app", "narrative", "submitted", "waited", "ran", "ended", "error"]}
            list={ends}
            actions={actions}
            keys={onlyEnds}
            {...batches}
          />
        ) : (
          !ends.error && (
            <Text color="fg.muted">
              {onlyEnds ? "None today." : "Nothing of yours has ended yet."}
            </Text>
          )
        )}
      </Section>
      {actions.dialog}
    </Box>
  );
}

/** The newest ends; with a tile pressed, those of today. */
function useEnds(show: Show | null, today: number | null, paused: boolean) {
  const ofToday = show === "finished" || show === "failed";
  const list = useJobList({
    scope: "mine",
    words: {
      status: (ofToday ? SHOWS[show] : ENDED).join(","),
      from: ofToday && today !== null ? String(today) : undefined,
    },
    sort: "-finished",
    limit: ofToday ? 50 : LATEST,
    insert: true,
    paused,
  });
  const rows = useMemo(() => {
    const sorted = [...list.rows].sort((a, b) => (b.finished ?? 0) - (a.finished ?? 0));
    return ofToday ? sorted : sorted.slice(0, LATEST);
  }, [list.rows, ofToday]);
  return { ...list, rows, more: ofToday ? list.more : null };
}

/** rows: all that are live, if they are all here: then the tiles count what the table shows. */
function Tiles({
  counts,
  rows,
  show,
  toggle,
}: {
  counts: Counts | undefined;
  rows: readonly Row[] | null;
  show: Show | null;
  toggle: (show: Show) => void;
}) {
  const held = (...states: string[]): Counts["running"] | null =>
    rows && { value: rows.filter(({ status }) => states.includes(status)).length, exact: true };
  const preparing = (held("created", "estimating") ?? counts?.preparing)?.value ?? 0;
  const tile = (name: Show, label: string, colour: string, count?: Counts["running"] | null) => (
    <Tile
      label={label}
      colour={colour}
      value={count ? bounded(count) : "–"}
      note={name === "waiting" && preparing ? `and ${preparing} preparing` : undefined}
      pressed={show === name}
      onClick={() => toggle(name)}
    />
  );
  return (
    <Grid
      gap="3"
      templateColumns={{ base: "1fr 1fr", sm: "repeat(4, max-content)" }}
      mb="5"
      role="group"
      aria-label="Filter by state"
    >
      {tile("running", "Running", "running", held("running") ?? counts?.running)}
      {tile("waiting", "Queued", "queued", held("queued") ?? counts?.queued)}
      {tile("finished", "Ended today", "success", counts?.finished_today)}
      {tile("failed", "Failed today", "failed", counts?.failed_today)}
    </Grid>
  );
}

function NothingRuns({ filtered }: { filtered: boolean }) {
  if (filtered) return <Empty title="None at the moment." />;
  return (
    <Empty title="Nothing is running.">
      Jobs you start in a narrative appear here within seconds.
      <Flex gap="4" justify="center" mt="3">
        <PageLink to="/jobs/history">What has ended</PageLink>
        <PageLink to="/jobs/narratives">What runs in your narratives</PageLink>
      </Flex>
    </Empty>
  );
}
