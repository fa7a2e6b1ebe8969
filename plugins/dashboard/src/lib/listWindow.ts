/** The part of a list of jobs that the page holds: pages in a row, however long the list is. */

import type { JobList, Row } from "../app/types";

/** More rows than this are never held; those farthest from where one reads are dropped. */
export const MOST_ROWS = 1000;

export type Sort = "created" | "-created" | "finished" | "-finished" | "index";

export interface Held {
  /** What it was read with; null: the list's beginning. */
  cursor: string | null;
  rows: readonly Row[];
  next: string | null;
  prev: string | null;
}

export interface ListWindow {
  pages: readonly Held[];
  /** How many rows of the list stand before the first that is held. */
  before: number;
  /** Ids of rows that came to the list's beginning since it was read, and are not shown. */
  fresh: ReadonlySet<string>;
  /** What the newest row at the list's beginning was sorted by; see `place`. */
  top: readonly [number, string];
}

export interface Change {
  items: readonly Row[];
  gone: readonly string[];
}

/** What a list is sorted by. */
export function place(row: Row, sort: Sort): readonly [number, string] {
  if (sort === "index") return [row.index ?? 0, row.id];
  return [sort.endsWith("finished") ? (row.finished ?? 0) : row.created, row.id];
}

function above(one: readonly [number, string], other: readonly [number, string]): boolean {
  return one[0] > other[0] || (one[0] === other[0] && one[1] > other[1]);
}

function held(answer: Pick<JobList, "items" | "next" | "prev">, cursor: string | null): Held {
  return { cursor, rows: answer.items, next: answer.next, prev: answer.prev };
}

/** The window after the list's beginning was read. */
export function begin(answer: JobList, sort: Sort): ListWindow {
  let top: readonly [number, string] = [0, ""];
  for (const row of answer.items) if (above(place(row, sort), top)) top = place(row, sort);
  return { pages: [held(answer, null)], before: 0, fresh: new Set(), top };
}

function known(pages: readonly Held[]): Set<string> {
  return new Set(pages.flatMap((page) => page.rows.map((row) => row.id)));
}

function size(pages: readonly Held[]): number {
  return pages.reduce((sum, page) => sum + page.rows.length, 0);
}

/** With the page after the last one. What is at the other end is dropped if there are too many. */
export function append(
  window: ListWindow,
  answer: JobList,
  cursor: string,
  most = MOST_ROWS,
): ListWindow {
  const ids = known(window.pages);
  const page = held(answer, cursor);
  const pages = [...window.pages, { ...page, rows: page.rows.filter(({ id }) => !ids.has(id)) }];
  let { before } = window;
  while (pages.length > 1 && size(pages) > most) before += pages.shift()?.rows.length ?? 0;
  return { ...window, pages, before };
}

/** With the page before the first one; likewise. */
export function prepend(
  window: ListWindow,
  answer: JobList,
  cursor: string,
  most = MOST_ROWS,
): ListWindow {
  const ids = known(window.pages);
  const rows = answer.items.filter(({ id }) => !ids.has(id));
  const pages = [{ ...held(answer, cursor), rows }, ...window.pages];
  while (pages.length > 1 && size(pages) > most) pages.pop();
  const fresh = new Set(window.fresh);
  for (const row of rows) fresh.delete(row.id);
  const before = answer.prev === null ? 0 : Math.max(0, window.before - rows.length);
  return { ...window, pages, before, fresh };
}

/** With a row of a list by index where it belongs, if that is among what is held. */
function inPlace(pages: readonly Held[], row: Row): readonly Held[] {
  const wanted = place(row, "index");
  const first = pages[0]?.rows[0];
  if (!first || (pages[0]?.prev && above(place(first, "index"), wanted))) return pages;
  const later = (one: Row) => above(place(one, "index"), wanted);
  const found = pages.findIndex(({ rows }) => rows.some(later));
  const at = found < 0 && pages.at(-1)?.next === null ? pages.length - 1 : found;
  return pages.map((page, n) => {
    if (n !== at) return page;
    const index = page.rows.findIndex(later);
    return { ...page, rows: page.rows.toSpliced(index < 0 ? page.rows.length : index, 0, row) };
  });
}

/** With what has changed: rows that are shown are renewed in their place, gone ones leave. Rows new
 * to the list join it (insert; where they belong, if it is sorted by index), or are only counted as
 * fresh, so that nothing jumps. */
export function renew(
  window: ListWindow,
  change: Change,
  { sort, insert }: { sort: Sort; insert: boolean },
): ListWindow {
  if (!change.items.length && !change.gone.length) return window;
  const ids = known(window.pages);
  const news = new Map(change.items.map((row) => [row.id, row]));
  const gone = new Set(change.gone);
  let pages: readonly Held[] = window.pages.map((page) => {
    if (!page.rows.some(({ id }) => news.has(id) || gone.has(id))) return page;
    const rows = page.rows.filter(({ id }) => !gone.has(id)).map((row) => news.get(row.id) ?? row);
    return { ...page, rows };
  });
  const come = change.items.filter(({ id }) => !ids.has(id));
  const fresh = new Set(window.fresh);
  for (const id of gone) fresh.delete(id);
  if (sort === "index") pages = come.reduce(inPlace, pages);
  else if (insert) {
    const [first, ...others] = pages;
    if (first && come.length) pages = [{ ...first, rows: [...come, ...first.rows] }, ...others];
  } else {
    for (const row of come) if (above(place(row, sort), window.top)) fresh.add(row.id);
  }
  return { ...window, pages, fresh };
}

/** All rows that are held, in the list's order. */
export function rowsOf(window: ListWindow): readonly Row[] {
  const [only, ...others] = window.pages;
  return only && !others.length ? only.rows : window.pages.flatMap((page) => page.rows);
}
