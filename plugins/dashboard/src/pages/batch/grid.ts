/** The states of a batch's children as numbers, and where they stand in the picture. Pure. */

import { BAR_ORDER } from "../../lib/states";

/** States by their codes; see the API's `Grid`. 7: one that this page does not know. */
export const CODES = [
  "created",
  "estimating",
  "queued",
  "running",
  "completed",
  "error",
  "terminated",
  "unknown",
] as const;

/** More children than this are shown as a strip, and some of them as squares below it. */
export const MOST_SQUARES = 2000;
/** So many of a larger batch are shown as squares. */
export const WINDOW = 480;

/** The codes of `children` children: three bits each, the first in the highest bits, as base64. */
export function unpacked(states: string, children: number): Uint8Array {
  const bytes = Uint8Array.from(atob(states), (letter) => letter.charCodeAt(0));
  const count = Math.min(children, Math.floor((bytes.length * 8) / 3));
  const codes = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) {
    const bit = at * 3;
    const byte = bit >> 3;
    const both = ((bytes[byte] ?? 0) << 8) | (bytes[byte + 1] ?? 0);
    codes[at] = (both >> (13 - (bit & 7))) & 7;
  }
  return codes;
}

export interface Squares {
  columns: number;
  rows: number;
  /** Side of a square with the gap after it, px. */
  step: number;
  side: number;
}

/** How squares fill a width, larger ones for few children. */
export function squares(count: number, width: number): Squares {
  const step = count <= 120 ? 22 : count <= 600 ? 15 : 11;
  const columns = Math.max(1, Math.floor(width / step));
  return {
    columns,
    rows: Math.max(1, Math.ceil(count / columns)),
    step,
    side: step - (step > 12 ? 3 : 2),
  };
}

/** For each state the squares of its children as one path of SVG. */
export function paths(codes: Uint8Array, { columns, step, side }: Squares): Map<string, string> {
  const found = new Map<string, string[]>();
  codes.forEach((code, at) => {
    const state = CODES[code] ?? "unknown";
    const x = (at % columns) * step;
    const y = Math.floor(at / columns) * step;
    const list = found.get(state) ?? [];
    list.push(`M${x} ${y}h${side}v${side}h-${side}z`);
    found.set(state, list);
  });
  return new Map([...found].map(([state, list]) => [state, list.join("")]));
}

/** Slanted lines over the failed ones, so that they are found without colours, too. */
export function strokes(codes: Uint8Array, { columns, step, side }: Squares): string {
  const found: string[] = [];
  codes.forEach((code, at) => {
    if (code !== 5) return;
    const x = (at % columns) * step;
    const y = Math.floor(at / columns) * step;
    found.push(`M${x} ${y}l${side} ${side}M${x + side} ${y}l-${side} ${side}`);
  });
  return found.join("");
}

export interface Bin {
  /** Places of its children: from, included, and to, not included. */
  from: number;
  to: number;
  counts: Record<string, number>;
}

/** The children in order, as at most `most` bins of the same size. */
export function bins(codes: Uint8Array, most: number): Bin[] {
  const size = Math.max(1, Math.ceil(codes.length / most));
  const found: Bin[] = [];
  for (let from = 0; from < codes.length; from += size) {
    const to = Math.min(codes.length, from + size);
    const counts: Record<string, number> = {};
    for (let at = from; at < to; at += 1) {
      const state = CODES[codes[at] ?? 7] ?? "unknown";
      counts[state] = (counts[state] ?? 0) + 1;
    }
    found.push({ from, to, counts });
  }
  return found;
}

// A single failure among fifty must be seen.
const LEAST = 0.12;

/** For each state its parts of the bins as one path, in a box of `bins.length` × 100; from below:
 * completed to failed. */
export function stripPaths(all: readonly Bin[]): Map<string, string> {
  const found = new Map<string, string>();
  all.forEach(({ from, to, counts }, column) => {
    const total = to - from;
    const failed = counts.error ? Math.max(LEAST, counts.error / total) : 0;
    const others = total - (counts.error ?? 0);
    let top = 100;
    for (const state of [...BAR_ORDER, "unknown"]) {
      const count = counts[state] ?? 0;
      if (!count) continue;
      const share = state === "error" ? failed : (count / others) * (1 - failed);
      const height = share * 100;
      top -= height;
      const part = `M${column} ${top.toFixed(2)}h0.92v${height.toFixed(2)}h-0.92z`;
      found.set(state, (found.get(state) ?? "") + part);
    }
  });
  return found;
}

/** Where a key leads from place `at` among `count`; null: the key is none of ours. */
export function moved(key: string, at: number, count: number, columns: number): number | null {
  const to = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    PageDown: at + columns * 10,
    PageUp: at - columns * 10,
    Home: 0,
    End: count - 1,
  }[key];
  return to === undefined ? null : Math.max(0, Math.min(count - 1, to));
}
