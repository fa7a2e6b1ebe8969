/** The numbers of the statistics as tables: by time, by method, by reason. */

import { Button, HStack, NativeSelect, Table, Text } from "@chakra-ui/react";
import {
  getCoreRowModel,
  getSortedRowModel,
  useReactTable,
  type ColumnDef,
} from "@tanstack/react-table";
import { ArrowDown, ArrowUp } from "lucide-react";
import { useMemo } from "react";

import { PageLink } from "../../app/links";
import type { Answer } from "../../app/types";
import { hours, number, percent } from "../../lib/format";
import { look } from "../../lib/states";
import { duration } from "../../lib/time";
import { Rows, type Column } from "../../parts/Rows";
import { Ago, Fixed } from "../../parts/times";
import {
  barName,
  jobsPath,
  lastOf,
  OUTCOMES,
  reasonOf,
  type Bar,
  type Sought,
  type Stats,
  type Step,
} from "./spans";

type AppStats = Answer<"AppStats">;

/** The bars of the chart as rows, the newest first; the same numbers, the same links. */
export function SeriesTable({
  bars,
  by,
  last,
  sought,
}: {
  bars: readonly Bar[];
  by: Step;
  last: string;
  sought: Pick<Sought, "scope" | "app">;
}) {
  const columns: Column<Bar>[] = [
    {
      name: by === "day" ? "Day" : by === "week" ? "Week from" : "Month",
      cell: (bar) => barName(bar.start, by),
    },
    { name: "Runs", numeric: true, cell: (bar) => number(bar.runs) },
    ...OUTCOMES.map((outcome): Column<Bar> => ({
      name: look(outcome).word,
      numeric: true,
      cell: (bar) =>
        bar[outcome] ? (
          <PageLink
            to={jobsPath(bar.start, lastOf(bar.start, by, last), { ...sought, status: outcome })}
            textDecoration="underline"
          >
            {number(bar[outcome])}
          </PageLink>
        ) : (
          "0"
        ),
    })),
    {
      name: "Success",
      numeric: true,
      cell: (bar) => (bar.success === null ? "–" : percent(bar.success)),
    },
    { name: "Wall time", numeric: true, cell: (bar) => duration(bar.wall_ms) },
    { name: "CPU", numeric: true, cell: (bar) => hours(bar.cpu_ms) },
  ];
  // Too many rows for cards on a phone; there it scrolls sideways.
  return (
    <Table.ScrollArea tabIndex={0} role="region" aria-label="Runs by time">
      <Table.Root size="sm" aria-label="Runs by time">
        <Table.Header>
          <Table.Row>
            {columns.map(({ name, numeric }) => (
              <Table.ColumnHeader
                key={name}
                color="fg.muted"
                fontWeight="medium"
                whiteSpace="nowrap"
                textAlign={numeric ? "end" : "start"}
              >
                {name}
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {[...bars].reverse().map((bar) => (
            <Table.Row key={bar.start}>
              {columns.map(({ name, numeric, cell }) => (
                <Table.Cell
                  key={name}
                  py="1"
                  whiteSpace="nowrap"
                  textAlign={numeric ? "end" : "start"}
                  fontVariantNumeric={numeric ? "tabular-nums" : undefined}
                >
                  {cell(bar)}
                </Table.Cell>
              ))}
            </Table.Row>
          ))}
        </Table.Body>
      </Table.Root>
    </Table.ScrollArea>
  );
}

const KEYS = [
  "app",
  "runs",
  "success",
  "wait_p50_ms",
  "wait_p90_ms",
  "run_p50_ms",
  "run_p90_ms",
  "wall_ms",
  "last_used",
] as const;
type Key = (typeof KEYS)[number];

const HEADS: Record<Key, string> = {
  app: "Method",
  runs: "Runs",
  success: "Success",
  wait_p50_ms: "Waited, median",
  wait_p90_ms: "Waited, 9 of 10",
  run_p50_ms: "Ran, median",
  run_p90_ms: "Ran, 9 of 10",
  wall_ms: "Wall time",
  last_used: "Last used",
};

/** What the address says to sort by, as [column, descending]. */
export function sortOf(text: string | null): [Key, boolean] {
  const key = KEYS.find((one) => one === text?.replace(/^-/, ""));
  return key ? [key, text?.startsWith("-") ?? false] : ["runs", true];
}

const BY: ColumnDef<AppStats>[] = KEYS.map((key) => ({
  id: key,
  accessorFn: (app) => app[key] ?? undefined,
  sortUndefined: "last",
  sortingFn: key === "app" ? "text" : "basic",
}));

/** The rows in order; nothing known stands last. */
export function useSorted(apps: AppStats[], [id, desc]: [Key, boolean]): AppStats[] {
  const state = useMemo(() => ({ sorting: [{ id, desc }] }), [id, desc]);
  // The table is used for its rows here, which are read from it at once.
  // eslint-disable-next-line react-hooks/incompatible-library
  const table = useReactTable({
    data: apps,
    columns: BY,
    state,
    // There are no pages of it; going back to the first one draws the table again, without end.
    autoResetPageIndex: false,
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
  });
  return table.getRowModel().rows.map(({ original }) => original);
}

/** All methods of the span; a row leads to its jobs. */
export function AppsTable({
  apps,
  stats,
  scope,
  sort,
  onSort,
}: {
  apps: AppStats[];
  stats: Pick<Stats, "first" | "last">;
  scope: Sought["scope"];
  sort: string | null;
  onSort: (sort: string) => void;
}) {
  const [by, down] = sortOf(sort);
  const rows = useSorted(apps, [by, down]);
  const times = (key: Key & `${string}_ms`): Column<AppStats> => ({
    name: HEADS[key],
    numeric: true,
    cell: (app) => <Fixed ms={app[key]} />,
  });
  const plain: Record<Key, Column<AppStats>> = {
    app: {
      name: HEADS.app,
      cell: (app) => (
        <PageLink
          to={jobsPath(stats.first, stats.last, { scope, app: app.app })}
          overflowWrap="anywhere"
          textDecoration="underline"
        >
          <bdi>{app.app}</bdi>
        </PageLink>
      ),
    },
    runs: { name: HEADS.runs, numeric: true, cell: (app) => number(app.runs) },
    success: {
      name: HEADS.success,
      numeric: true,
      cell: (app) => (app.success === null ? "–" : percent(app.success)),
    },
    wait_p50_ms: times("wait_p50_ms"),
    wait_p90_ms: times("wait_p90_ms"),
    run_p50_ms: times("run_p50_ms"),
    run_p90_ms: times("run_p90_ms"),
    wall_ms: times("wall_ms"),
    last_used: { name: HEADS.last_used, numeric: true, cell: (app) => <Ago at={app.last_used} /> },
  };
  const columns = KEYS.map((key) => ({
    ...plain[key],
    sorted: by === key ? (down ? ("descending" as const) : ("ascending" as const)) : undefined,
    head: (
      <Button
        variant="plain"
        size="xs"
        px="0"
        height="auto"
        color="inherit"
        fontWeight="inherit"
        fontSize="inherit"
        onClick={() => onSort(by === key && down ? key : `-${key}`)}
      >
        {HEADS[key]}
        {by === key &&
          (down ? <ArrowDown size={12} aria-hidden /> : <ArrowUp size={12} aria-hidden />)}
      </Button>
    ),
  }));
  return (
    <>
      <HStack hideFrom="sm" mb="2" fontSize="sm">
        <Text aria-hidden whiteSpace="nowrap">
          Sort by
        </Text>
        <NativeSelect.Root size="xs">
          <NativeSelect.Field
            aria-label="Sort the methods by"
            value={by}
            onChange={(event) => onSort(`-${event.target.value}`)}
          >
            {KEYS.map((key) => (
              <option key={key} value={key}>
                {HEADS[key]}
              </option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
      </HStack>
      <Rows label="Methods" columns={columns} rows={rows} keyOf={(app) => app.app} />
    </>
  );
}

/** Why runs did not complete, each with its jobs. */
export function Reasons({
  stats,
  sought,
}: {
  stats: Stats;
  sought: Pick<Sought, "scope" | "app">;
}) {
  const lost = stats.totals.error + stats.totals.terminated;
  return (
    <Rows
      label="Why runs did not complete"
      rows={stats.reasons}
      keyOf={({ status, code }) => `${status} ${code}`}
      columns={[
        { name: "Outcome", width: "120px", cell: ({ status }) => look(status).word },
        {
          name: "Reason",
          cell: (reason) => {
            const { words, sought: more } = reasonOf(reason);
            return (
              <PageLink
                to={jobsPath(stats.first, stats.last, { ...sought, ...more })}
                textDecoration="underline"
              >
                {words}
              </PageLink>
            );
          },
        },
        { name: "Runs", numeric: true, width: "90px", cell: ({ runs }) => number(runs) },
        {
          name: "Share",
          numeric: true,
          width: "90px",
          cell: ({ runs }) => (lost ? percent(runs / lost) : "–"),
        },
      ]}
    />
  );
}
