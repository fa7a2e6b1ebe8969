/** The columns that tables of jobs can have: heading, width and what stands in a cell. */

import { ClockAlert, Layers, Package } from "lucide-react";
import type { ReactNode } from "react";

import { pathOf, RowLink } from "../app/links";
import type { Row } from "../app/types";
import { useNow } from "../lib/clock";
import { appName, hours, number, plural, shortId } from "../lib/format";
import { isLive } from "../lib/states";
import { query } from "../lib/words";
import { Asked } from "./Asked";
import { StackedBar } from "./StackedBar";
import { StateBadge } from "./StateBadge";
import { Ago, Fixed, Span } from "./times";

/** Where a waiting job stands. */
export interface Stand {
  position: number | null;
  in_line: number | null;
  group: string | null;
  /** Why it waits. */
  why: string | null;
}

/** What a cell needs besides the row. */
export interface CellFacts {
  /** When the reader asked to cancel it. */
  asked: number | undefined;
  stand: Stand | undefined;
}

export interface Column {
  head: string;
  /** CSS width; columns without one share what is left. */
  width?: string;
  align?: "end";
  cell: (row: Row, facts: CellFacts) => ReactNode;
  /** What the list can be sorted by it. */
  sort?: "created" | "finished";
}

/** "14th", "1st", "2nd", "111th". */
export function ordinal(n: number): string {
  const teens = n % 100 >= 11 && n % 100 <= 13;
  const tail = teens ? "th" : ({ 1: "st", 2: "nd", 3: "rd" }[n % 10] ?? "th");
  return `${number(n)}${tail}`;
}

/** Where there is nothing to say. */
const NONE = <span className="quiet">–</span>;
const ICON = { size: 14, className: "quiet icon", "aria-hidden": true } as const;

/** The name of a job, or of a batch by its size. */
export function titleOf(row: Row): string {
  if (row.role) return row.role === "split" ? "Split" : "Aggregate";
  if (!row.is_batch) return appName(row);
  const jobs = Object.values(row.children ?? {}).reduce((sum, count) => sum + count, 0);
  return `Batch of ${plural(jobs, "job")}`;
}

/** The state that is shown: what the reader asked for counts until the engine says how it is. */
export function shownState(row: Row, asked: number | undefined): string {
  if (asked !== undefined && isLive(row.status)) return "cancelling";
  return row.superseded ? "retried" : row.status;
}

/** A text of unknown length and direction in one line. */
export function Cut({ children, title }: { children: string; title?: string }) {
  return (
    <span className="cut" title={title ?? children}>
      <bdi>{children}</bdi>
    </span>
  );
}

function AppCell({ row }: { row: Row }) {
  const title = titleOf(row);
  const method = row.is_batch ? null : row.method;
  return (
    <span className="line whole">
      <span className="line">
        {row.is_batch ? <Layers {...ICON} /> : <Package {...ICON} />}
        <RowLink to={pathOf(row)} className="cut" title={title}>
          <bdi>{title}</bdi>
        </RowLink>
      </span>
      {(row.attempt ?? 1) > 1 && <span className="small quiet">attempt {row.attempt}</span>}
      {method && method !== title && <bdi className="small quiet">{method}</bdi>}
    </span>
  );
}

function NarrativeCell({ row }: { row: Row }) {
  if (!row.ws_id) return NONE;
  const name = row.narrative ?? `narrative ${row.ws_id}`;
  return (
    <RowLink
      to={`/jobs/narratives${query({ ws: row.ws_id })}`}
      className={row.narrative ? "cut" : "cut quiet"}
      title={name}
    >
      <bdi>{name}</bdi>
    </RowLink>
  );
}

/** How far it is: a batch's bar, a place in line, or the node. */
export function StandCell({ row, facts }: { row: Row; facts: CellFacts }) {
  if (facts.asked !== undefined && isLive(row.status)) return <Asked at={facts.asked} row={row} />;
  if (row.children && row.is_batch) {
    const all = Object.values(row.children).reduce((sum, count) => sum + count, 0);
    const ended = ["completed", "error", "terminated"].reduce(
      (sum, state) => sum + (row.children?.[state] ?? 0),
      0,
    );
    return (
      <span className="line">
        <span className="bar">
          <StackedBar counts={row.children} />
        </span>
        <span className="small quiet">
          {number(ended)} of {number(all)}
        </span>
      </span>
    );
  }
  const { stand } = facts;
  if (row.status === "queued" && stand?.position && stand.in_line) {
    const where = `${ordinal(stand.position)} of ${number(stand.in_line)}${stand.group ? ` in ${stand.group}` : ""}`;
    return <Cut title={stand.why ? `${where}. ${stand.why}` : where}>{where}</Cut>;
  }
  if (isLive(row.status) && row.status !== "running" && stand?.why) return <Cut>{stand.why}</Cut>;
  if (row.status === "running" && row.node) return <Cut>{`on ${row.node}`}</Cut>;
  return NONE;
}

/** How long it has run; near its limit that is said. */
function RanCell({ row }: { row: Row }) {
  if (row.is_batch) {
    // As a whole: its own record need not say when it began.
    const from = row.running ?? row.created;
    if (isLive(row.status)) return <Span from={from} />;
    return row.finished ? <Fixed ms={Math.max(0, row.finished - from)} /> : NONE;
  }
  if (!row.running) return NONE;
  if (!isLive(row.status)) return <Fixed ms={row.run_ms} />;
  return (
    <span className="line end">
      {row.limit_at && <NearLimit from={row.running} to={row.limit_at} />}
      <Span from={row.running} />
    </span>
  );
}

function NearLimit({ from, to }: { from: number; to: number }) {
  const now = useNow();
  if (to - now > 0.1 * (to - from)) return null;
  return (
    <span className="warned" title="Near its time limit">
      <ClockAlert size={14} aria-label="Near its time limit" />
    </span>
  );
}

export const COLUMNS = {
  state: {
    head: "State",
    width: "112px",
    cell: (row, facts) => <StateBadge state={shownState(row, facts.asked)} />,
  },
  id: {
    head: "Id",
    width: "90px",
    cell: (row) => (
      <RowLink to={pathOf(row)} className="mono small" title={row.id}>
        {shortId(row.id)}
      </RowLink>
    ),
  },
  app: { head: "App", cell: (row) => <AppCell row={row} /> },
  narrative: { head: "Narrative", cell: (row) => <NarrativeCell row={row} /> },
  user: { head: "User", width: "96px", cell: (row) => <Cut>{row.user}</Cut> },
  batch: {
    head: "Batch",
    width: "90px",
    cell: (row) =>
      row.batch_id ? (
        <RowLink to={`/batches/${row.batch_id}`} className="mono small" title={row.batch_id}>
          {shortId(row.batch_id)}
        </RowLink>
      ) : (
        NONE
      ),
  },
  submitted: {
    head: "Submitted",
    width: "102px",
    sort: "created",
    cell: (row) => <Ago at={row.created} />,
  },
  waited: {
    head: "Waited",
    width: "84px",
    align: "end",
    cell: (row) =>
      isLive(row.status) && row.status !== "running" && !row.is_batch ? (
        <Span from={row.created} />
      ) : (
        <Fixed ms={row.wait_ms} />
      ),
  },
  running: {
    head: "Running for",
    width: "112px",
    align: "end",
    cell: (row) => <RanCell row={row} />,
  },
  ran: { head: "Ran", width: "84px", align: "end", cell: (row) => <RanCell row={row} /> },
  ended: {
    head: "Ended",
    width: "98px",
    sort: "finished",
    cell: (row) => <Ago at={row.finished} />,
  },
  stand: {
    head: "Progress or place",
    width: "180px",
    cell: (row, facts) => <StandCell row={row} facts={facts} />,
  },
  group: { head: "Group", width: "84px", cell: (row) => <Cut>{row.group ?? "–"}</Cut> },
  node: { head: "Node", width: "84px", cell: (row) => <Cut>{row.node ?? "–"}</Cut> },
  attempt: {
    head: "Attempt",
    width: "76px",
    align: "end",
    cell: (row) => number(row.attempt ?? 1),
  },
  label: { head: "Inputs that differ", cell: (row) => <Cut>{row.label ?? "–"}</Cut> },
  number: {
    head: "#",
    width: "64px",
    align: "end",
    cell: (row) =>
      row.index === null || row.index === undefined ? (
        "–"
      ) : (
        <RowLink to={pathOf(row)}>{number(row.index + 1)}</RowLink>
      ),
  },
  cpu: {
    head: "CPU",
    width: "62px",
    align: "end",
    cell: (row) => (row.cpu_ms === null || row.cpu_ms === undefined ? "–" : hours(row.cpu_ms)),
  },
  error: {
    head: "Error",
    cell: (row) =>
      row.error_line ? (
        <div className={row.status === "error" ? "failed" : "quiet"}>
          <Cut>{row.error_line}</Cut>
        </div>
      ) : (
        NONE
      ),
  },
  scheduler: {
    head: "Batch system id",
    width: "120px",
    cell: (row) => <Cut>{row.scheduler_id ?? "–"}</Cut>,
  },
  limit: {
    head: "Limit",
    width: "106px",
    cell: (row) => (row.limit_at ? <Ago at={row.limit_at} /> : NONE),
  },
} satisfies Record<string, Column>;

export type ColumnName = keyof typeof COLUMNS;

/** The column of a name. */
export function column(name: ColumnName): Column {
  return COLUMNS[name];
}
