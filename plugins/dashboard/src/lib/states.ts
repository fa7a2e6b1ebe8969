/** States of jobs: the word shown, the host's colour family, the order in stacked bars. */

export interface StateLook {
  word: string;
  /** A semantic colour of the host, with the shades solid, fg, subtle and so on. */
  colour: string;
}

const LOOKS = {
  created: { word: "Submitted", colour: "none" },
  estimating: { word: "Preparing", colour: "scheduled" },
  queued: { word: "Queued", colour: "queued" },
  running: { word: "Running", colour: "running" },
  completed: { word: "Completed", colour: "success" },
  error: { word: "Failed", colour: "failed" },
  terminated: { word: "Cancelled", colour: "removed" },
  // Not states of the engine: what the page knows beside them.
  cancelling: { word: "Cancelling", colour: "deferred" },
  retried: { word: "Retried", colour: "up_for_retry" },
  near_limit: { word: "Near limit", colour: "warning" },
  silent: { word: "No contact", colour: "upstream_failed" },
} satisfies Record<string, StateLook>;

export type StateName = keyof typeof LOOKS;

export const LIVE = ["created", "estimating", "queued", "running"] as const;
export const ENDED = ["completed", "error", "terminated"] as const;

/** From good to bad, as they stand in a stacked bar, always. */
export const BAR_ORDER = [
  "completed",
  "running",
  "queued",
  "estimating",
  "created",
  "terminated",
  "error",
] as const;

/** How a state is shown; one that nobody knows is shown by its own name. */
export function look(state: string): StateLook {
  return Object.hasOwn(LOOKS, state)
    ? LOOKS[state as StateName]
    : { word: state || "Unknown", colour: "none" };
}

export function isLive(state: string): boolean {
  return (LIVE as readonly string[]).includes(state);
}
