/** Statistics: `/stats?from=&to=&by=day|week|month&app=&scope=`. Days are those of UTC. */

import { Box, Button, Flex, HStack, Link, Skeleton, Stack, Text } from "@chakra-ui/react";
import { BarChart3, Download, Table2 } from "lucide-react";
import { useMemo } from "react";
import { useSearchParams } from "react-router-dom";

import { useHome } from "../../app/home";
import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { hours, number, percent } from "../../lib/format";
import { stale } from "../../lib/stale";
import { duration } from "../../lib/time";
import { query, withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { PageHead, Section } from "../../parts/Section";
import { Tile } from "../../parts/Tile";
import { Ago } from "../../parts/times";
import { Controls, lastDays, type Asked } from "./Controls";
import { OutcomeChart } from "./OutcomeChart";
import {
  change,
  goodStep,
  points,
  startOf,
  wholeSeries,
  type Stats as Answered,
  type Step,
} from "./spans";
import { AppsTable, Reasons, SeriesTable } from "./Tables";

const EVERY_MS = 5 * 60_000;
const DAYS = 30;
const DAY_MS = 86_400_000;

function askedOf(search: URLSearchParams, mayAll: boolean): Asked {
  const usual = lastDays(DAYS);
  const day = (name: string, otherwise: string) => {
    const text = search.get(name) ?? "";
    return Number.isFinite(startOf(text)) ? text : otherwise;
  };
  const from = day("from", usual.from);
  const to = day("to", usual.to);
  const by = search.get("by");
  return {
    from: from <= to ? from : to,
    to,
    by: by === "day" || by === "week" || by === "month" ? by : goodStep(from, to),
    app: search.get("app"),
    scope: mayAll && search.get("scope") === "all" ? "all" : "mine",
  };
}

export default function Stats() {
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const mayAll = me.is_admin || me.is_admin_reader;
  const asked = askedOf(search, mayAll);
  const { from, to, by, app, scope } = asked;
  const live = useLive<Answered>(`/stats${query({ from, to, by, scope, app })}`, {
    every: EVERY_MS,
    keep: true,
  });
  const apps = useLive<Answer<"AppTable">>(`/stats/apps${query({ from, to, scope })}`, {
    every: EVERY_MS,
    keep: true,
  });
  const onChange = (words: Record<string, string | null>) =>
    setSearch((before) => withWords(before, words), { preventScrollReset: true });
  const names = useMemo(() => (apps.data?.apps ?? []).map((one) => one.app).sort(), [apps.data]);
  const stats = live.data;
  const empty = stats && !stats.totals.runs;
  return (
    <>
      <PageHead title="Statistics">
        <Freshness live={live} />
      </PageHead>
      <Controls asked={asked} apps={names} mayAll={mayAll} onChange={onChange} />
      <Trouble live={live} />
      {!stats && !live.error && <StatsSkeleton />}
      {stats && (
        <Box {...stale(live.failedAt)}>
          {empty ? (
            <NoRuns
              app={app}
              asOf={stats.as_of}
              onAll={() => onChange({ ...lastYear(), app: null, by: null })}
            />
          ) : (
            <Numbers stats={stats} asked={asked} search={search} onChange={onChange} />
          )}
          {!app && apps.data && apps.data.apps.length > 0 && (
            <Section id="methods" title="Methods">
              <AppsTable
                apps={apps.data.apps}
                stats={apps.data}
                scope={scope}
                sort={search.get("sort")}
                onSort={(sort) => onChange({ sort })}
              />
            </Section>
          )}
          {!stats || empty || stats.reasons.length === 0 ? null : (
            <Section id="reasons" title="Why runs did not complete">
              <Reasons stats={stats} sought={{ scope, app }} />
            </Section>
          )}
        </Box>
      )}
    </>
  );
}

function lastYear() {
  return { from: lastDays(365).from, to: null };
}

function Numbers({
  stats,
  asked: { scope, app },
  search,
  onChange,
}: {
  stats: Answered;
  asked: Asked;
  search: URLSearchParams;
  onChange: (words: Record<string, string | null>) => void;
}) {
  const { api } = useHome();
  const { totals, previous, first, last } = stats;
  const by = stats.by as Step;
  const bars = useMemo(() => wholeSeries(stats), [stats]);
  const asTable = search.get("view") === "table";
  const days = Math.round((startOf(last) - startOf(first)) / DAY_MS) + 1;
  const before = days === 1 ? "day before" : `${days} days before`;
  const against = (text: string | null) =>
    text === null
      ? `nothing in the ${before}`
      : text === "as before"
        ? `as in the ${before}`
        : `${text} against the ${before}`;
  const csv = `${api}/jobs/export.csv${query({
    scope,
    app,
    status: "completed,error,terminated",
    from: startOf(first),
    to: startOf(last) + DAY_MS,
    sort: "-finished",
    runs: true,
  })}`;
  return (
    <>
      <Box display="grid" gridTemplateColumns={{ base: "1fr 1fr", md: "repeat(4, 1fr)" }} gap="3">
        <Tile
          label="Runs"
          value={number(totals.runs)}
          note={against(change(totals.runs, previous.runs))}
        />
        <Tile
          label="Success"
          colour="success"
          value={totals.success === null ? "–" : percent(totals.success)}
          note={against(points(totals.success, previous.success))}
        />
        <Tile
          label="Wall time"
          value={duration(totals.wall_ms)}
          note={against(change(totals.wall_ms, previous.wall_ms))}
        />
        <Tile
          label="CPU hours"
          value={hours(totals.cpu_ms)}
          note={against(change(totals.cpu_ms, previous.cpu_ms))}
        />
      </Box>
      <Section
        id="runs"
        title={`Runs by ${by}`}
        aside={
          <HStack gap="2">
            <Button
              size="xs"
              variant="outline"
              aria-pressed={asTable}
              onClick={() => onChange({ view: asTable ? null : "table" })}
            >
              {asTable ? <BarChart3 size={14} aria-hidden /> : <Table2 size={14} aria-hidden />}
              {asTable ? "Show as chart" : "Show as table"}
            </Button>
            <Button size="xs" variant="outline" asChild>
              <Link href={csv} download>
                <Download size={14} aria-hidden /> Jobs as CSV
              </Link>
            </Button>
          </HStack>
        }
      >
        {asTable ? (
          <SeriesTable bars={bars} by={by} last={last} sought={{ scope, app }} />
        ) : (
          <OutcomeChart bars={bars} by={by} last={last} sought={{ scope, app }} />
        )}
        <Text fontSize="xs" color="fg.muted" mt="2">
          Days are those of UTC; every job of a batch and every attempt is a run.{" "}
          <Counted asOf={stats.as_of} />
        </Text>
      </Section>
    </>
  );
}

/** How old the figures are: they are made now and then, not when the page asks for them. */
function Counted({ asOf }: { asOf: number | null }) {
  if (asOf === null) return "Nothing has been counted yet.";
  return (
    <>
      Counted <Ago at={asOf} />; what has ended since then comes with the next count.
    </>
  );
}

/** What the page looks like once there is something, in grey, and where to go. */
function NoRuns({
  app,
  asOf,
  onAll,
}: {
  app: string | null;
  asOf: number | null;
  onAll: () => void;
}) {
  const heights = [30, 55, 42, 80, 66, 20, 12, 58, 74, 90, 48, 62];
  return (
    <Box textAlign="center">
      <Flex
        align="end"
        justify="center"
        gap="2"
        height="120px"
        mt="6"
        role="img"
        aria-label="An example: a bar for each day, of completed, cancelled and failed runs"
      >
        {heights.map((height, at) => (
          <Stack key={at} gap="1px" width="5" height={`${height}%`}>
            <Box flex="1" bg="bg.emphasized" borderTopRadius="sm" />
            <Box flex="5" bg="bg.muted" />
          </Stack>
        ))}
      </Flex>
      <Empty
        title={
          app ? `Nothing of ${app} has ended in these days.` : "Nothing has ended in these days."
        }
      >
        Once jobs have ended, a bar for each day shows how they went, and a table how long each
        method waits and runs.
        <Text fontSize="sm" mt="1">
          <Counted asOf={asOf} />
        </Text>
        <Box mt="3">
          <Button size="sm" variant="outline" onClick={onAll}>
            Look at the last year
          </Button>
        </Box>
      </Empty>
    </Box>
  );
}

function StatsSkeleton() {
  return (
    <Stack gap="6" role="status" aria-busy aria-label="Loading">
      <Box display="grid" gridTemplateColumns={{ base: "1fr 1fr", md: "repeat(4, 1fr)" }} gap="3">
        {[0, 1, 2, 3].map((at) => (
          <Skeleton key={at} height="20" />
        ))}
      </Box>
      <Skeleton height="300px" />
      <Skeleton height="60" />
    </Stack>
  );
}
