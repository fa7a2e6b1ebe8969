/** A batch at one look: a square per child, or a strip of how dense each state is. */

import { Box, HStack, Text } from "@chakra-ui/react";
import { memo, useMemo, useState } from "react";

import { number } from "../../lib/format";
import { look } from "../../lib/states";
import {
  bins,
  CODES,
  MOST_SQUARES,
  moved,
  paths,
  squares,
  strokes,
  stripPaths,
  WINDOW,
  type Bin,
} from "./grid";
import { useWidth } from "./useWidth";

/** The CSS value of a state's colour; it follows the theme by itself. */
function fill(state: string): string {
  return `var(--chakra-colors-${look(state).colour}-solid)`;
}

function inWords(counts: Record<string, number>): string {
  return Object.entries(counts)
    .map(([state, count]) => `${number(count)} ${look(state).word.toLowerCase()}`)
    .join(", ");
}

/** All children. at: the first child of the squares below a strip; onAt changes it. open: shows a
 * child by its place. faded: states that the page's filter leaves out. */
export function ChildGrid({
  codes,
  at,
  onAt,
  open,
  faded,
}: {
  codes: Uint8Array;
  at: number;
  onAt: (at: number) => void;
  open: (place: number) => void;
  faded: (state: string) => boolean;
}) {
  if (codes.length <= MOST_SQUARES)
    return <SquaresOf codes={codes} first={0} open={open} faded={faded} />;
  const first = Math.max(0, Math.min(at, codes.length - WINDOW));
  return (
    <>
      <Strip codes={codes} at={first} onAt={onAt} faded={faded} />
      <Text fontSize="sm" color="fg.muted" mt="3" mb="1">
        Children {number(first + 1)} to {number(first + WINDOW)} of {number(codes.length)}
      </Text>
      <SquaresOf
        codes={codes.subarray(first, first + WINDOW)}
        first={first}
        open={open}
        faded={faded}
      />
    </>
  );
}

const SquaresOf = memo(function SquaresOf({
  codes,
  first,
  open,
  faded,
}: {
  codes: Uint8Array;
  first: number;
  open: (place: number) => void;
  faded: (state: string) => boolean;
}) {
  const [ref, width] = useWidth<HTMLDivElement>();
  const [cursor, setCursor] = useState<number | null>(null);
  const form = useMemo(() => squares(codes.length, width), [codes.length, width]);
  const drawn = useMemo(() => [...paths(codes, form)], [codes, form]);
  const marks = useMemo(() => strokes(codes, form), [codes, form]);
  const place = cursor === null ? 0 : Math.min(cursor, codes.length - 1);
  const state = CODES[codes[place] ?? 7] ?? "unknown";
  const words = `Child ${number(first + place + 1)}: ${look(state).word}`;
  const under = (event: { clientX: number; clientY: number; currentTarget: Element }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / form.step);
    const row = Math.floor((event.clientY - box.top) / form.step);
    const found = row * form.columns + column;
    return column >= 0 && column < form.columns && found < codes.length ? found : null;
  };
  return (
    <Box ref={ref}>
      <Box
        role="slider"
        tabIndex={0}
        aria-label="Children, one square each; arrow keys move, Enter opens"
        aria-valuemin={first + 1}
        aria-valuemax={first + codes.length}
        aria-valuenow={first + place + 1}
        aria-valuetext={words}
        data-testid="squares"
        width={`${form.columns * form.step}px`}
        height={`${form.rows * form.step}px`}
        borderRadius="sm"
        cursor="pointer"
        _focusVisible={{ outline: "2px solid", outlineColor: "brand.focusRing", outlineOffset: 2 }}
        onFocus={() => setCursor((before) => before ?? 0)}
        onPointerMove={(event) => {
          const found = under(event);
          if (found !== null) setCursor(found);
        }}
        onClick={(event) => {
          const found = under(event);
          if (found !== null) open(first + found);
        }}
        onKeyDown={(event) => {
          const to = moved(event.key, place, codes.length, form.columns);
          if (to !== null) setCursor(to);
          else if (event.key === "Enter" || event.key === " ") open(first + place);
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      >
        {width > 0 && (
          <svg width="100%" height="100%" aria-hidden display="block">
            {drawn.map(([name, path]) => (
              <path
                key={name}
                d={path}
                data-state={name}
                opacity={faded(name) ? 0.25 : 1}
                style={{ fill: fill(name) }}
              />
            ))}
            <path d={marks} style={{ stroke: "var(--chakra-colors-bg)", strokeWidth: 1.5 }} />
            {cursor !== null && (
              <rect
                x={(place % form.columns) * form.step - 0.5}
                y={Math.floor(place / form.columns) * form.step - 0.5}
                width={form.side + 1}
                height={form.side + 1}
                style={{ fill: "none", stroke: "var(--chakra-colors-fg)", strokeWidth: 2 }}
              />
            )}
          </svg>
        )}
      </Box>
      <Text fontSize="sm" mt="1" minHeight="1.5em" data-testid="under" aria-hidden>
        {cursor === null
          ? "Point at a square, or move with the arrow keys; click or Enter opens it."
          : words}
      </Text>
    </Box>
  );
});

const MOST_BINS = 250;
const STRIP_PX = 72;

const Strip = memo(function Strip({
  codes,
  at,
  onAt,
  faded,
}: {
  codes: Uint8Array;
  at: number;
  onAt: (at: number) => void;
  faded: (state: string) => boolean;
}) {
  const all = useMemo(() => bins(codes, MOST_BINS), [codes]);
  const drawn = useMemo(() => [...stripPaths(all)], [all]);
  const [cursor, setCursor] = useState<number | null>(null);
  const place = Math.min(cursor ?? binAt(all, at), all.length - 1);
  const bin = all[place];
  const size = bin ? (all[0]?.to ?? 1) : 1;
  const words = bin
    ? `Children ${number(bin.from + 1)} to ${number(bin.to)}: ${inWords(bin.counts)}`
    : "";
  const under = (event: { clientX: number; currentTarget: Element }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const found = Math.floor(((event.clientX - box.left) / box.width) * all.length);
    return Math.max(0, Math.min(all.length - 1, found));
  };
  const choose = (to: number) => onAt(all[to]?.from ?? 0);
  return (
    <Box>
      <Box
        role="slider"
        tabIndex={0}
        aria-label="All children as a strip; arrow keys move, Enter shows them as squares"
        aria-valuemin={1}
        aria-valuemax={all.length}
        aria-valuenow={place + 1}
        aria-valuetext={words}
        data-testid="strip"
        height={`${STRIP_PX}px`}
        cursor="pointer"
        _focusVisible={{ outline: "2px solid", outlineColor: "brand.focusRing", outlineOffset: 2 }}
        onPointerMove={(event) => setCursor(under(event))}
        onPointerLeave={() => setCursor(null)}
        onBlur={() => setCursor(null)}
        onClick={(event) => choose(under(event))}
        onKeyDown={(event) => {
          const to = moved(event.key, place, all.length, 10);
          if (to !== null) setCursor(to);
          else if (event.key === "Enter" || event.key === " ") choose(place);
          else return;
          event.preventDefault();
          event.stopPropagation();
        }}
      >
        <svg
          width="100%"
          height="100%"
          viewBox={`0 0 ${all.length} 100`}
          preserveAspectRatio="none"
          aria-hidden
          display="block"
        >
          {drawn.map(([name, path]) => (
            <path
              key={name}
              d={path}
              data-state={name}
              opacity={faded(name) ? 0.25 : 1}
              style={{ fill: fill(name) }}
            />
          ))}
          <rect
            x={at / size}
            y={1}
            width={WINDOW / size}
            height={98}
            vectorEffect="non-scaling-stroke"
            style={{ fill: "none", stroke: "var(--chakra-colors-fg)", strokeWidth: 2 }}
          />
        </svg>
      </Box>
      <HStack justify="space-between" fontSize="sm" mt="1" aria-hidden>
        <Text data-testid="under-strip">{words}</Text>
      </HStack>
    </Box>
  );
});

function binAt(all: readonly Bin[], at: number): number {
  return Math.max(
    0,
    all.findIndex((bin) => at < bin.to),
  );
}
