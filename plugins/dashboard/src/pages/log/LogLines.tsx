import { Box } from "@chakra-ui/react";
import { useVirtualizer } from "@tanstack/react-virtual";
import {
  useCallback,
  useEffect,
  useImperativeHandle,
  useRef,
  type MouseEvent,
  type Ref,
} from "react";

import type { LogStore } from "../../lib/logstore";
import { sinceStart } from "../../lib/logstore";
import { clock } from "../../lib/time";
import { LogRow, ROW_PX } from "./LogRow";
import { useInks } from "./LogText";
import type { Found } from "./useFound";

// Browsers give up on boxes of some 17 million pixels; longer logs are shown from here on.
const MOST_ROWS = 800_000;
const SETTLE_MS = 60;

export type Times = "off" | "relative" | "clock";

export interface LinesHandle {
  /** Scrolls to a line, so that it stands in the middle. */
  show: (n: number) => void;
  top: () => void;
  bottom: () => void;
  /** The first line in sight. */
  first: () => number;
}

/** The lines: all of them, or those that were found. Only those in sight are in the page. */
export function LogLines({
  store,
  version,
  filter,
  found,
  current,
  range,
  wrap,
  times,
  start,
  zone,
  follow,
  onFollow,
  searchOf,
  onNumber,
  onWhole,
  handle,
}: {
  store: LogStore;
  /** The store's; lines are looked up anew when it rises. */
  version: number;
  /** Show only what was found. */
  filter: boolean;
  found: Found;
  current: number | null;
  range: readonly [number, number] | null;
  wrap: boolean;
  times: Times;
  /** From when relative times count, ms. */
  start: number | null;
  zone: string;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  searchOf: (n: number) => string;
  onNumber: (n: number, event: MouseEvent) => void;
  onWhole: (n: number) => void;
  handle: Ref<LinesHandle>;
}) {
  const box = useRef<HTMLDivElement>(null);
  const inks = useInks();
  const base = filter ? 0 : Math.max(0, store.count - MOST_ROWS);
  const count = filter ? found.matches.length : store.count - base;
  const virtual = useVirtualizer({
    count,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 25,
  });
  useEffect(() => virtual.measure(), [virtual, wrap, filter]);

  const rows = virtual.getVirtualItems();
  const from = (rows[0]?.index ?? 0) + base;
  const to = (rows.at(-1)?.index ?? 0) + base;
  useEffect(() => {
    if (filter || !store.known) return;
    // Not for lines that only fly by.
    const timer = setTimeout(() => store.want(from, to), SETTLE_MS);
    return () => clearTimeout(timer);
  }, [store, filter, from, to, version]);
  const { more, busy, readMore } = found;
  useEffect(() => {
    if (filter && more && !busy && to >= count - 50) void readMore();
  });

  // Scrolling up ends following; coming to the end begins it.
  const lastTop = useRef(0);
  const onScroll = useCallback(() => {
    const el = box.current;
    if (!el) return;
    const atEnd = el.scrollTop + el.clientHeight >= el.scrollHeight - ROW_PX / 2;
    if (atEnd) onFollow(true);
    else if (el.scrollTop < lastTop.current - 1) onFollow(false);
    lastTop.current = el.scrollTop;
  }, [onFollow]);

  const place = (n: number): number => {
    if (!filter) return Math.min(Math.max(0, n - base), count - 1);
    const at = found.matches.findIndex((match) => match.n >= n);
    return at < 0 ? count - 1 : at;
  };
  useImperativeHandle(handle, () => ({
    show: (n) => virtual.scrollToIndex(place(n), { align: "center" }),
    top: () => virtual.scrollToIndex(0, { align: "start" }),
    bottom: () => virtual.scrollToIndex(count - 1, { align: "end" }),
    first: () => {
      const el = box.current;
      const at = el ? virtual.getVirtualItemForOffset(el.scrollTop)?.index : undefined;
      return filter ? (found.matches[at ?? 0]?.n ?? 0) : (at ?? 0) + base;
    },
  }));
  useEffect(() => {
    if (!follow || !count) return;
    const frame = requestAnimationFrame(() => virtual.scrollToIndex(count - 1, { align: "end" }));
    return () => cancelAnimationFrame(frame);
  }, [follow, count, virtual]);

  const digits = String(Math.max(99, store.count - 1)).length;
  const timed = times !== "off" && !filter;
  const timeOf = (t: number | null | undefined) =>
    !timed
      ? null
      : t === null || t === undefined
        ? ""
        : times === "clock"
          ? clock(t, zone)
          : sinceStart(t - (start ?? t));
  return (
    <Box
      ref={box}
      onScroll={onScroll}
      tabIndex={0}
      role="region"
      aria-label="Lines of the log"
      data-testid="log-lines"
      height="max(300px, calc(100dvh - 270px))"
      overflow="auto"
      overscrollBehavior="contain"
      borderWidth="1px"
      borderRadius="md"
      bg="bg"
      fontFamily="mono"
      fontSize="13px"
      position="relative"
      css={{ overflowAnchor: "none" }}
    >
      <div
        role="table"
        aria-label="Console log"
        aria-rowcount={count}
        style={{ position: "relative", height: virtual.getTotalSize(), minWidth: "100%" }}
      >
        <div role="rowgroup">
          {rows.map((row) => {
            const match = filter ? found.matches[row.index] : undefined;
            const n = match?.n ?? row.index + base;
            const line = filter ? match : store.line(n);
            return (
              <LogRow
                key={n}
                at={row.index}
                n={n}
                line={line}
                time={timeOf(filter ? null : store.line(n)?.t)}
                timeWidth={times === "clock" ? "11ch" : "15ch"}
                found={found.byLine.get(n)}
                current={current === n}
                chosen={range !== null && n >= range[0] && n <= range[1]}
                wrap={wrap}
                top={row.start}
                digits={digits}
                inks={inks}
                search={searchOf(n)}
                onNumber={onNumber}
                onWhole={onWhole}
                measure={wrap ? virtual.measureElement : undefined}
              />
            );
          })}
        </div>
      </div>
    </Box>
  );
}
