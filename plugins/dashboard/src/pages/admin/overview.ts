/** What the overview says at a glance, and where each part of it leads. */

import type { Answer } from "../../app/types";
import { number, percent, plural } from "../../lib/format";
import { query } from "../../lib/words";

export type Overview = Answer<"Overview">;
export type Controls = Answer<"State">;
type Amounts = Answer<"Amounts">;

const REASONS: Record<string, string> = {
  preparing: "Not yet handed to the pool",
  paused: "The engine is paused",
  drained: "Client group drained",
  limit: "Owner’s limit of running jobs",
  window: "Batch runs as many as it may",
  release: "About to be released",
  no_machines: "No machine in the client group",
  no_such_slot: "No machine is large enough",
  slots_busy: "All fitting machines are busy",
  negotiation: "Next round of matching",
  held: "Held by HTCondor",
  routed: "Sent to another cluster",
  starting: "Starting",
  leaving: "Leaving the pool",
  fresh: "Just handed to the pool",
  not_seen: "Not in the pool’s queue",
  no_figures: "No figures of the pool",
};

/** Reasons about which somebody has to do something; the others pass by themselves. */
const STUCK = new Set(["no_machines", "no_such_slot", "held", "not_seen", "no_figures"]);

/** A waiting reason's code in a few words. */
export function reasonWords(code: string | null | undefined): string {
  if (!code) return "–";
  return Object.hasOwn(REASONS, code) ? (REASONS[code] ?? code) : code;
}

/** Whether jobs that wait for this go on waiting until somebody acts. */
export function isStuck(code: string): boolean {
  return STUCK.has(code);
}

/** The administrators' list of jobs, filtered. */
export function jobsAt(words: Record<string, string | number | null | undefined>): string {
  return `/admin/jobs${query(words)}`;
}

export interface Concern {
  key: string;
  text: string;
  colour: "failed" | "warning";
  to?: string;
}

/** What an administrator should look at, the gravest first; empty: all is well. */
export function concerns(page: Overview, controls: Controls | undefined): Concern[] {
  const found: Concern[] = [];
  if (controls?.paused)
    found.push({
      key: "paused",
      text: `The engine is paused by ${controls.paused.by}`,
      colour: "failed",
    });
  for (const one of page.waiting.filter(({ code }) => isStuck(code)))
    found.push({
      key: `stuck ${one.code}`,
      text: `${plural(one.count, "job")} cannot start: ${reasonWords(one.code).toLowerCase()}`,
      colour: "failed",
      to: jobsAt({ status: "queued", group: Object.keys(one.groups).join(",") }),
    });
  for (const one of page.failures.filter(({ unusual }) => unusual))
    found.push({
      key: `app ${one.app}`,
      text: `${one.app} fails unusually often: ${one.failed_hour} of ${one.ended_hour} in the last hour`,
      colour: "failed",
      to: jobsAt({ status: "error", app: one.app, sort: "-finished" }),
    });
  if (page.silent.length)
    found.push({
      key: "silent",
      text: `${plural(page.silent.length, "running job")} without a sign of life`,
      colour: "warning",
      to: "#silent",
    });
  for (const [group, one] of Object.entries(controls?.drained ?? {}))
    found.push({
      key: `drained ${group}`,
      text: `${group} is drained by ${one.by}`,
      colour: "warning",
      to: jobsAt({ status: "queued", group }),
    });
  const emptied = page.nodes.filter(({ state }) => state === "drained").length;
  if (emptied)
    found.push({
      key: "nodes",
      text: `${plural(emptied, "machine")} being emptied`,
      colour: "warning",
      to: "#nodes",
    });
  return found.sort((a, b) => Number(b.colour === "failed") - Number(a.colour === "failed"));
}

export interface Piece {
  name: "used" | "claimed" | "drained" | "free";
  amount: number;
}

/** A resource as the pieces of a bar that add up to the whole: used, claimed beyond that, drained,
 * free. Machines may use more than was claimed; the bar ends at what is claimed. */
export function pieces({ claimed, used, drained, free }: Amounts): Piece[] {
  const really = Math.min(used, claimed);
  return [
    { name: "used", amount: really },
    { name: "claimed", amount: claimed - really },
    { name: "drained", amount: drained },
    { name: "free", amount: free },
  ];
}

/** The share of what can be had that is given to jobs: of the machines that are not drained. */
export function claimedShare({ total, claimed, drained }: Amounts): number {
  const usable = total - drained;
  return usable > 0 ? Math.min(1, claimed / usable) : 0;
}

/** How many of ended runs failed: "12 of 40 (30 %)". */
export function failed(ended: number, bad: number): string {
  return ended ? `${number(bad)} of ${number(ended)} (${percent(bad / ended)})` : "none ended";
}

/** How full a machine is, 0 to 4: empty, a little, half, mostly, full. */
export function fullness(node: { cpus: number; cpus_claimed: number }): number {
  if (!node.cpus || node.cpus_claimed <= 0) return 0;
  return Math.min(4, Math.max(1, Math.ceil((node.cpus_claimed / node.cpus) * 4)));
}

const NODE_WORDS: Record<string, string> = {
  free: "free",
  busy: "busy",
  full: "full",
  drained: "being emptied",
};

/** A machine's state in words. */
export function nodeWords(state: string): string {
  return Object.hasOwn(NODE_WORDS, state) ? (NODE_WORDS[state] ?? state) : state;
}
