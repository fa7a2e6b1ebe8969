/** Times and durations that go on by themselves. */

import { memo, type CSSProperties } from "react";

import { useZone } from "../app/me";
import { useNow } from "../lib/clock";
import { duration, exactWithZone, relative } from "../lib/time";

// Tables have hundreds of these: plain elements are drawn ten times as fast as styled ones.
const LINE: CSSProperties = { whiteSpace: "nowrap" };
const NUMBERS: CSSProperties = { ...LINE, fontVariantNumeric: "tabular-nums" };

/** "4 min ago", exact with its zone on hover. */
export const Ago = memo(function Ago({ at }: { at: number | null | undefined }) {
  const now = useNow();
  const zone = useZone();
  if (at === null || at === undefined) return <span className="quiet">–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} title={exactWithZone(at, zone)} style={LINE}>
      {relative(at, now)}
    </time>
  );
});

/** "2026-11-23 14:02:11 CET". */
export function Exact({ at }: { at: number | null | undefined }) {
  const zone = useZone();
  if (at === null || at === undefined) return <span>–</span>;
  return (
    <time dateTime={new Date(at).toISOString()} style={LINE}>
      {exactWithZone(at, zone)}
    </time>
  );
}

/** A span of time; one that has not ended ticks. */
export const Span = memo(function Span({
  from,
  to,
}: {
  from: number | null | undefined;
  to?: number | null;
}) {
  if (from === null || from === undefined) return <span>–</span>;
  if (to !== null && to !== undefined) return <Fixed ms={to - from} />;
  return <Ticking from={from} />;
});

/** A length of time that is known. */
export function Fixed({ ms }: { ms: number | null | undefined }) {
  return <span style={NUMBERS}>{ms === null || ms === undefined ? "–" : duration(ms)}</span>;
}

function Ticking({ from }: { from: number }) {
  const now = useNow();
  return <span style={NUMBERS}>{duration(now - from)}</span>;
}
