/** The life of a job as one bar. */

export interface Times {
  created: number | null;
  queued: number | null;
  running: number | null;
  finished: number | null;
}

export interface Phase {
  /** The state it was in. */
  state: "created" | "queued" | "running";
  from: number;
  to: number;
  /** It goes on. */
  open: boolean;
}

/** The phases of a job, in order; the last one goes on to `now` if the job has not ended. */
export function phases(times: Times, now: number): Phase[] {
  const marks = (["created", "queued", "running"] as const)
    .map((state) => ({ state, at: times[state] }))
    .filter((mark): mark is { state: Phase["state"]; at: number } => mark.at !== null);
  return marks.map(({ state, at }, n) => {
    const to = marks[n + 1]?.at ?? times.finished;
    const end = to ?? Math.max(now, at);
    return { state, from: at, to: Math.max(at, end), open: to === null };
  });
}

/** "longer than 82 % of the last 200 runs" and the like. rank: 0 (shortest) to 1 (longest). */
export function rankWords(rank: number | null, runs: number): string | null {
  if (rank === null || runs < 5) return null;
  if (rank <= 0) return `the shortest of the last ${runs} runs`;
  if (rank >= 1) return `the longest of the last ${runs} runs`;
  if (rank >= 0.45 && rank <= 0.55) return `about the middle of the last ${runs} runs`;
  // Never "100 %" of what is only nearly so.
  const share = (part: number) => Math.min(99, Math.max(1, Math.round(part * 100)));
  return rank > 0.5
    ? `longer than ${share(rank)} % of the last ${runs} runs`
    : `shorter than ${share(1 - rank)} % of the last ${runs} runs`;
}
