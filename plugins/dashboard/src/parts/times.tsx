/** Times and durations that go on by themselves. */

import { chakra } from "@chakra-ui/react";
import { memo } from "react";

import { useZone } from "../app/me";
import { useNow } from "../lib/clock";
import { duration, exactWithZone, relative } from "../lib/time";

/** "4 min ago", exact with its zone on hover. */
export const Ago = memo(function Ago({ at }: { at: number | null | undefined }) {
  const now = useNow();
  const zone = useZone();
  if (at === null || at === undefined) return <span>–</span>;
  return (
    <chakra.time
      dateTime={new Date(at).toISOString()}
      title={exactWithZone(at, zone)}
      whiteSpace="nowrap"
    >
      {relative(at, now)}
    </chakra.time>
  );
});

/** "2026-11-23 14:02:11 CET". */
export function Exact({ at }: { at: number | null | undefined }) {
  const zone = useZone();
  if (at === null || at === undefined) return <span>–</span>;
  return (
    <chakra.time dateTime={new Date(at).toISOString()} whiteSpace="nowrap">
      {exactWithZone(at, zone)}
    </chakra.time>
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
  return (
    <chakra.span whiteSpace="nowrap" fontVariantNumeric="tabular-nums">
      {ms === null || ms === undefined ? "–" : duration(ms)}
    </chakra.span>
  );
}

function Ticking({ from }: { from: number }) {
  const now = useNow();
  return (
    <chakra.span whiteSpace="nowrap" fontVariantNumeric="tabular-nums">
      {duration(now - from)}
    </chakra.span>
  );
}
