/** Limits as tables show them. */

import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { duration } from "../../lib/time";

export type UserRow = Answer<"UserRow">;
export type Rule = Answer<"Rule">;

export const ANY = "*";

/** Users as an administrator looks for them: those whom a limit holds back, then those with a limit
 * of their own, then the busiest. */
export function inOrder(rows: readonly UserRow[]): UserRow[] {
  const key = (row: UserRow) =>
    [row.held_back, row.own ? 1 : 0, row.running + row.waiting] as const;
  return [...rows].sort((a, b) => {
    const [one, other] = [key(a), key(b)];
    for (let at = 0; at < one.length; at += 1) {
      const apart = (other[at] ?? 0) - (one[at] ?? 0);
      if (apart) return apart;
    }
    return a.user.localeCompare(b.user);
  });
}

/** A limit in words. */
export function limitWords(limit: number | null): string {
  if (limit === null) return "no limit";
  return limit === 0 ? "0: may not start jobs" : number(limit);
}

/** How specific a rule is: 1 (user and app) counts before 2 (app), 3 (user), 4 (any). */
export function precedence(rule: { app: string; user: string }): 1 | 2 | 3 | 4 {
  if (rule.app !== ANY) return rule.user !== ANY ? 1 : 2;
  return rule.user !== ANY ? 3 : 4;
}

/** Rules in the order in which they are looked for. */
export function byPrecedence(rules: readonly Rule[]): Rule[] {
  return [...rules].sort(
    (a, b) =>
      precedence(a) - precedence(b) || a.app.localeCompare(b.app) || a.user.localeCompare(b.user),
  );
}

/** The rule that counts for a user's jobs of an app, and the others that would, if it were not. */
export function applying(rules: readonly Rule[], user: string, app: string): Rule[] {
  return byPrecedence(
    rules.filter(
      (rule) => (rule.user === ANY || rule.user === user) && (rule.app === ANY || rule.app === app),
    ),
  );
}

/** Seconds as people set them: "48 h", "90 min" as "1 h 30 m". */
export function runTime(seconds: number): string {
  if (seconds % 3600 === 0) return `${number(seconds / 3600)} h`;
  return duration(seconds * 1000);
}

/** Hours of a field as seconds; at least one. */
export function secondsOf(hours: number): number {
  return Math.round(hours * 3600);
}

/** Seconds for a field of hours: "1.5". */
export function hoursOf(seconds: number): string {
  return String(Math.round((seconds / 3600) * 1e4) / 1e4);
}

export const SIZES = [
  { key: "cpus", name: "Cores per job" },
  { key: "memory_mb", name: "Memory per job, MB" },
  { key: "disk_gb", name: "Disk per job, GB" },
  { key: "children", name: "Jobs per batch" },
  { key: "waiting", name: "Waiting jobs" },
] as const;
