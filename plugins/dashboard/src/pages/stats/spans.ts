/** Spans of UTC days and the bars in them. Pure. */

import type { Answer } from "../../app/types";
import { query } from "../../lib/words";

export type Stats = Answer<"Stats">;
export type Bar = Answer<"Bar">;
export type Step = "day" | "week" | "month";

const DAY_MS = 86_400_000;

/** The outcomes from good to bad, as they are stacked. */
export const OUTCOMES = ["completed", "terminated", "error"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** "2026-11-23" of a time, in UTC. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The beginning of a day, ms; NaN for what is no day. */
export function startOf(day: string): number {
  return /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : NaN;
}

/** The first day of the step after the one that `day` is in. */
export function nextStart(day: string, by: Step): string {
  const at = new Date(startOf(day));
  if (by === "month") return dayOf(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1));
  // Weeks begin on Monday.
  const days = by === "day" ? 1 : 7 - ((at.getUTCDay() + 6) % 7);
  return dayOf(at.getTime() + days * DAY_MS);
}

const NOTHING = {
  runs: 0,
  completed: 0,
  error: 0,
  terminated: 0,
  success: null,
  wait_ms: 0,
  wall_ms: 0,
  cpu_ms: 0,
};

/** All bars of the span, also those without runs, which the server leaves out. */
export function wholeSeries({ first, last, by, series }: Stats): Bar[] {
  const known = new Map(series.map((bar) => [bar.start, bar]));
  const found: Bar[] = [];
  for (let start = first; start <= last; start = nextStart(start, by as Step))
    found.push(known.get(start) ?? { ...NOTHING, start });
  return found;
}

/** The step that gives a span a good number of bars. */
export function goodStep(first: string, last: string): Step {
  const days = (startOf(last) - startOf(first)) / DAY_MS + 1;
  return days <= 45 ? "day" : days <= 240 ? "week" : "month";
}

/** The name of a bar: "23 Nov", "Nov 2026". */
export function barName(start: string, by: Step): string {
  const how: Intl.DateTimeFormatOptions =
    by === "month" ? { month: "short", year: "numeric" } : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat("en-GB", { ...how, timeZone: "UTC" }).format(startOf(start));
}

export interface Sought {
  scope: "mine" | "all";
  app?: string | null;
  status?: string;
  error?: number | null;
  ended_by?: string | null;
}

/** The list of the jobs that ended in some days; the last one included. */
export function jobsPath(from: string, last: string, sought: Sought): string {
  const { scope, status = "completed,error,terminated", ...words } = sought;
  const page = scope === "all" ? "/admin/jobs" : "/jobs/history";
  return (
    page +
    query({
      status,
      from: startOf(from),
      to: startOf(last) + DAY_MS,
      ...words,
      runs: true, // as they are counted
      sort: scope === "all" ? "-finished" : null,
    })
  );
}

/** The last day of the bar that begins at `start`, within the span. */
export function lastOf(start: string, by: Step, last: string): string {
  const end = dayOf(startOf(nextStart(start, by)) - DAY_MS);
  return end < last ? end : last;
}

const ENDED_BY = ["user", "admin", "automation", "batch", "server"];
const ERRORS = [
  "failed for an unknown reason",
  "the app failed",
  "ended by the engine",
  "over its time limit",
  "no usable output",
  "its login expired",
  "could not be handed to the scheduler",
];
const CANCELLED = [
  "cancelled by its owner",
  "cancelled by an administrator",
  "cancelled by the engine",
  "cancelled with its batch",
  "cancelled because of a failure of the server",
];

/** Why runs did not complete: in words, and the filter words that list them. */
export function reasonOf({ status, code }: Pick<Answer<"Reason">, "status" | "code">): {
  words: string;
  sought: Omit<Sought, "scope">;
} {
  const failed = status === "error";
  const words = (failed ? ERRORS : CANCELLED)[code ?? -1];
  const known = words !== undefined && code !== null;
  return {
    words: words ?? (failed ? "failed for an unknown reason" : "cancelled"),
    sought: {
      status,
      error: failed && known ? code : null,
      ended_by: !failed && known ? ENDED_BY[code] : null,
    },
  };
}

/** The change of a number against the one before, as "+12 %"; null: there was nothing before. */
export function change(now: number, before: number): string | null {
  if (!before) return null;
  const share = Math.round(((now - before) / before) * 100);
  if (share === 0) return "as before";
  if (share > 999) return `×${Math.round(now / before)}`;
  return `${share > 0 ? "+" : "−"}${Math.abs(share)} %`;
}

/** The change of a share in points: "+3 points". */
export function points(now: number | null, before: number | null): string | null {
  if (now === null || before === null) return null;
  const apart = Math.round((now - before) * 100);
  if (apart === 0) return "as before";
  return `${apart > 0 ? "+" : "−"}${Math.abs(apart)} ${Math.abs(apart) === 1 ? "point" : "points"}`;
}
