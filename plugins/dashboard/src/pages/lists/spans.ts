/** Spans of time that a list can be cut to, and the days at its side. */

import { day } from "../../lib/time";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

export const SPANS = [
  { value: "hour", label: "Last hour", ms: HOUR },
  { value: "48h", label: "Last 48 hours", ms: 48 * HOUR },
  { value: "week", label: "Last week", ms: 7 * DAY },
  { value: "month", label: "Last month", ms: 31 * DAY },
  { value: "year", label: "Last year", ms: 366 * DAY },
  { value: "all", label: "All time", ms: null },
  { value: "custom", label: "From … to …", ms: null },
] as const;

export type SpanName = (typeof SPANS)[number]["value"];

/** The span of an address: what is chosen; custom if it names times; else a week. */
export function spanOf(search: URLSearchParams): SpanName {
  const given = search.get("span");
  const found = SPANS.find(({ value }) => value === given);
  if (found) return found.value;
  return search.get("from") ? "custom" : "week";
}

/** The length of a span, ms; null: it has none of its own. */
export function lengthOf(span: SpanName): number | null {
  return SPANS.find(({ value }) => value === span)?.ms ?? null;
}

export interface Mark {
  /** "2026-11-23" or "2026-11": the days that it stands for begin with it. */
  key: string;
  label: string;
  /** The end of what it stands for: a day (or month) later than its beginning; ms. */
  end: number;
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** The beginning of a calendar day in a zone, ms: the first moment that has this day there. */
export function startOfDay(date: string, zone: string): number {
  const noon = Date.parse(`${date}T12:00:00Z`) / 1000;
  // In seconds: before `low` it is another day, at `high` it is this one or a later.
  let low = noon - 36 * 3600;
  let high = noon + 36 * 3600;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (day(middle * 1000, zone) < date) low = middle;
    else high = middle;
  }
  return high * 1000;
}

function nextDay(date: string): string {
  return new Date(Date.parse(`${date}T12:00:00Z`) + DAY).toISOString().slice(0, 10);
}

function nextMonth(month: string): string {
  const [year = 0, at = 1] = month.split("-").map(Number);
  return at === 12 ? `${year + 1}-01` : `${year}-${String(at + 1).padStart(2, "0")}`;
}

/** The days of a span, the newest first; of more than two months, its months. */
export function marks(from: number, to: number, zone: string): Mark[] {
  const found: Mark[] = [];
  const first = day(from, zone);
  const last = day(to, zone);
  if (to - from <= 62 * DAY) {
    for (let at = first; at <= last && found.length < 70; at = nextDay(at)) {
      const [, month = "1", date = ""] = at.split("-");
      found.push({
        key: at,
        label: `${Number(date)} ${MONTHS[Number(month) - 1] ?? ""}`,
        end: startOfDay(nextDay(at), zone),
      });
    }
    return found.reverse();
  }
  const end = last.slice(0, 7);
  for (let at = first.slice(0, 7); at <= end && found.length < 120; at = nextMonth(at)) {
    const [year = "", month = "1"] = at.split("-");
    found.push({
      key: at,
      label: `${MONTHS[Number(month) - 1] ?? ""} ${year}`,
      end: startOfDay(`${nextMonth(at)}-01`, zone),
    });
  }
  return found.reverse();
}
