/** A table of jobs: as many rows as there are, keys, selection, batches that open in place. */

import { Box, chakra, Skeleton } from "@chakra-ui/react";
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, ArrowUp } from "lucide-react";
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef } from "react";

import { useAsked } from "../app/asked";
import type { JobListView } from "../app/jobList";
import { useTaste } from "../app/me";
import type { Row } from "../app/types";
import { useNarrow } from "../lib/narrow";
import type { Sort } from "../lib/listWindow";
import { stale } from "../lib/stale";
import { entriesOf, type Entry } from "./batchRows";
import type { JobWays } from "./JobActions";
import { CARD_HEIGHT, JobCard } from "./JobCard";
import { column, type ColumnName, type Stand } from "./jobColumns";
import { JobRow } from "./JobRow";
import { ROWS } from "./rowLook";
import { useRowKeys } from "./rowKeys";
import { rememberScroll } from "./scrollMemory";

/** Beyond so many rows only those that are seen are in the page. */
const VIRTUAL = 50;

export interface JobTableProps {
  /** What it is a table of, for those who hear it. */
  label: string;
  rows: readonly Row[];
  columns: readonly ColumnName[];
  /** Cancel, retry and log on each row; from `useJobActions`. */
  actions?: JobWays;
  /** Of a list that goes on: from `useJobList`. */
  list?: Pick<JobListView, "before" | "more" | "back" | "anew" | "memory" | "loading" | "failedAt">;
  selected?: ReadonlySet<string>;
  onSelect?: (selected: ReadonlySet<string>) => void;
  /** Where waiting jobs stand, by id. */
  stands?: ReadonlyMap<string, Stand>;
  /** Batches can be opened in place: which are, and their first children. */
  open?: ReadonlySet<string>;
  onOpen?: (open: ReadonlySet<string>) => void;
  children?: ReadonlyMap<string, readonly Row[]>;
  /** What the list is sorted by, and how to change it by a column's head. */
  sort?: Sort;
  onSort?: (sort: Sort) => void;
  /** j, k, Enter and so on move in this table; one table of a page. */
  keys?: boolean;
  /** Told which row is the first one seen, in tables that scroll. */
  onSeen?: (row: Row) => void;
  /** Height of the box in which a long table scrolls. */
  height?: string;
}

/** The table; cards where the window is narrow. */
export function JobTable(props: JobTableProps) {
  const { rows, list, open, onOpen, children, selected, onSelect, stands, onSeen } = props;
  const { keys = true, height = "max(320px, calc(100dvh - 240px))" } = props;
  // The dialog is drawn elsewhere; rows need not be drawn anew for it.
  const { cancel, retry } = props.actions ?? {};
  const actions = useMemo(() => (cancel && retry ? { cancel, retry } : undefined), [cancel, retry]);
  const narrow = useNarrow();
  const compact = useTaste().density === "compact";
  const asked = useAsked();
  const box = useRef<HTMLDivElement>(null);
  const before = list?.before ?? 0;
  const entries = useMemo(() => entriesOf(rows, open, children), [rows, open, children]);
  const virtual = rows.length > VIRTUAL || Boolean(list?.more) || before > 0;
  const rowHeight = narrow ? CARD_HEIGHT : compact ? 28 : 36;
  const total = before + entries.length + (list?.more ? 1 : 0);
  const memory = list?.memory;

  const virtualizer = useVirtualizer({
    count: total,
    enabled: virtual,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 5,
    initialOffset: memory?.top ?? 0,
    // Near enough (see `height`): rows are drawn at once, and the box need not be measured before.
    initialRect: { width: 0, height: Math.max(320, window.innerHeight - 240) },
    // Rows may come a frame late: the table is not drawn anew within the scrolling itself.
    useFlushSync: false,
  });
  const measured = useRef(rowHeight);
  useLayoutEffect(() => {
    if (measured.current !== rowHeight) virtualizer.measure();
    measured.current = rowHeight;
  }, [virtualizer, rowHeight]);
  const items = virtual ? virtualizer.getVirtualItems() : [];
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? -1;
  useMoreRows(list, virtual ? { first, last } : null, before, before + entries.length);
  useLayoutEffect(() => rememberScroll(box.current, memory), [memory, virtual]);

  const topRow = virtual
    ? entries[Math.floor((virtualizer.scrollOffset ?? 0) / rowHeight) - before]?.row
    : undefined;
  useEffect(() => {
    if (topRow) onSeen?.(topRow);
  }, [topRow, onSeen]);

  const toggle = useCallback(
    (id: string) => {
      if (!selected || !onSelect) return;
      const next = new Set(selected);
      if (!next.delete(id)) next.add(id);
      onSelect(next);
    },
    [selected, onSelect],
  );
  const toggleOpen = useCallback(
    (id: string) => {
      if (!open || !onOpen) return;
      const next = new Set(open);
      if (!next.delete(id)) next.add(id);
      onOpen(next);
    },
    [open, onOpen],
  );
  const focused = useRowKeys({
    enabled: keys,
    box,
    entries,
    memory,
    reveal: (at) => virtual && virtualizer.scrollToIndex(before + at),
    actions,
    toggle: onSelect ? toggle : undefined,
  });

  const shown = virtual
    ? items.map(({ index }) => ({ index, entry: entries[index - before] }))
    : entries.map((entry, index) => ({ index, entry }));
  const pad = virtual
    ? { top: items[0]?.start ?? 0, bottom: virtualizer.getTotalSize() - (items.at(-1)?.end ?? 0) }
    : { top: 0, bottom: 0 };
  const common = (entry: Entry) => ({
    entry,
    asked: asked.get(entry.key),
    stand: stands?.get(entry.key),
    actions,
    selected: selected?.has(entry.key) ?? false,
    focused: focused === entry.key,
    onToggle: onSelect ? toggle : undefined,
    onOpen: onOpen ? toggleOpen : undefined,
    isOpen: open?.has(entry.key) ?? false,
    height: rowHeight,
  });
  const frame = {
    ref: box,
    bg: "bg",
    overflowX: "auto" as const,
    overflowY: virtual ? ("auto" as const) : undefined,
    maxHeight: virtual ? height : undefined,
    ...stale(list?.failedAt),
    css: ROWS,
  };
  if (!rows.length && list?.loading) return <RowsSkeleton height={rowHeight} />;
  if (narrow)
    return (
      <Box {...frame} data-testid="jobs">
        <chakra.ul aria-label={props.label} listStyleType="none">
          {pad.top > 0 && <li aria-hidden style={{ height: pad.top }} />}
          {shown.map(({ index, entry }) =>
            entry ? (
              <JobCard key={entry.key} {...common(entry)} />
            ) : (
              <Waiting key={index} height={rowHeight} />
            ),
          )}
          {pad.bottom > 0 && <li aria-hidden style={{ height: pad.bottom }} />}
        </chakra.ul>
      </Box>
    );
  const span = props.columns.length + (onSelect ? 1 : 0) + (actions ? 1 : 0);
  return (
    <Box {...frame} borderWidth="1px" borderRadius="md" data-testid="jobs">
      <table
        aria-label={props.label}
        aria-rowcount={list?.more ? -1 : total + 1}
        style={{ minWidth: minWidth(props.columns) + (onSelect ? 36 : 0) + (actions ? 84 : 0) }}
      >
        <Head
          columns={props.columns}
          rows={rows}
          selected={selected}
          onSelect={onSelect}
          acts={actions !== undefined}
          sort={props.sort}
          onSort={props.onSort}
        />
        <tbody>
          {pad.top > 0 && <Gap span={span} height={pad.top} />}
          {shown.map(({ index, entry }) =>
            entry ? (
              <JobRow
                key={entry.key}
                columns={props.columns}
                index={index + 2}
                {...common(entry)}
              />
            ) : (
              <tr key={index} style={{ height: rowHeight }}>
                <td colSpan={span}>
                  <Skeleton height="4" />
                </td>
              </tr>
            ),
          )}
          {pad.bottom > 0 && <Gap span={span} height={pad.bottom} />}
        </tbody>
      </table>
    </Box>
  );
}

function minWidth(columns: readonly ColumnName[]): number {
  return columns.reduce((sum, name) => sum + parseInt(column(name).width ?? "184", 10), 0);
}

/** Reads on where the rows that are seen come near an end of those that are held. */
function useMoreRows(
  list: JobTableProps["list"],
  seen: { first: number; last: number } | null,
  from: number,
  to: number,
): void {
  const { first = 0, last = -1 } = seen ?? {};
  const active = seen !== null && last >= 0;
  useEffect(() => {
    if (!active || !list || list.failedAt) return;
    // Far above what is held: at the list's beginning, which is read sooner than all between.
    if (last < from - 4 * VIRTUAL && first === 0) list.anew();
    else if (first < from + 10) list.back?.();
    else if (last >= to - 10) list.more?.();
  }, [active, first, last, from, to, list]);
}

/** Drawn anew where something of it has changed, not while the table is scrolled. */
const Head = memo(function Head({
  columns,
  selected,
  onSelect,
  acts,
  sort,
  onSort,
  rows,
}: Omit<JobTableProps, "label" | "actions"> & { acts: boolean }) {
  const all = rows.length > 0 && rows.every(({ id }) => selected?.has(id));
  return (
    <thead>
      <tr aria-rowindex={1}>
        {onSelect && (
          <th style={{ width: 36 }}>
            <input
              type="checkbox"
              aria-label="Select all rows shown"
              checked={all}
              onChange={() => onSelect(new Set(all ? [] : rows.map(({ id }) => id)))}
            />
          </th>
        )}
        {columns.map((name) => {
          const { head, width, align, sort: by } = column(name);
          const sorted = by && sort?.replace("-", "") === by;
          const down = sort?.startsWith("-");
          return (
            <th
              key={name}
              style={{ width, textAlign: align }}
              aria-sort={sorted ? (down ? "descending" : "ascending") : undefined}
            >
              {by && onSort ? (
                <chakra.button
                  type="button"
                  cursor="pointer"
                  display="inline-flex"
                  alignItems="center"
                  gap="1"
                  onClick={() => onSort(sorted && down ? by : `-${by}`)}
                >
                  {head}
                  {sorted &&
                    (down ? (
                      <ArrowDown size={12} aria-hidden />
                    ) : (
                      <ArrowUp size={12} aria-hidden />
                    ))}
                </chakra.button>
              ) : (
                head
              )}
            </th>
          );
        })}
        {acts && (
          <th style={{ width: 84 }}>
            <chakra.span srOnly>Actions</chakra.span>
          </th>
        )}
      </tr>
    </thead>
  );
});

function Gap({ span, height }: { span: number; height: number }) {
  return (
    <tr aria-hidden>
      <td colSpan={span} style={{ height, padding: 0, border: 0 }} />
    </tr>
  );
}

function Waiting({ height }: { height: number }) {
  return (
    <li aria-hidden>
      <Skeleton height={`${height - 8}px`} mb="2" />
    </li>
  );
}

/** Rows that are on their way. */
export function RowsSkeleton({ count = 8, height = 36 }: { count?: number; height?: number }) {
  return (
    <Box role="status" aria-busy aria-label="Loading">
      {/* One element that looks like many: it stands for a tenth of a second. */}
      <Skeleton
        height={`${count * height}px`}
        maskImage={`repeating-linear-gradient(#000 0 ${height - 8}px, transparent 0 ${height}px)`}
      />
    </Box>
  );
}
