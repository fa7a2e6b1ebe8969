/** Goes on reading the end of a log for as long as the job lives. */

import { isLive } from "./states";
import type { LogAnswer, LogStore, ReadLines } from "./logstore";

const WAIT_S = 20;
const POLL_MS = 2000;
const SLOWEST_MS = 60_000;
const NEW_LINES = 500;
const PLAIN_POLLS = 30;
/** Lines that come in quick succession are read together. */
const GATHER_MS = 300;

export interface FollowTools {
  read: ReadLines;
  /** The last lines: the first thing that is read. */
  tail: (signal: AbortSignal) => Promise<LogAnswer>;
  sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Waits while nobody looks. */
  seen: (signal: AbortSignal) => Promise<void>;
  /** What an error says of asking again: in so many ms at the soonest; null: never. */
  again: (error: unknown) => number | null;
}

/** Long polls; plain polls every 2 s for a while after one has failed (a proxy that cuts waiting
 * calls off, too many followers). Ends when the job has ended and its last lines are read. */
export async function followLog(
  store: LogStore,
  { read, tail, sleep, seen, again }: FollowTools,
  signal: AbortSignal,
): Promise<void> {
  let failed = 0;
  let plain = 0;
  while (!signal.aborted) {
    await seen(signal);
    if (signal.aborted) return;
    const ended = store.status !== null && !isLive(store.status);
    try {
      if (!store.known) store.take(await tail(signal));
      else {
        const wait_s = plain || ended ? undefined : WAIT_S;
        store.take(await read(store.count, NEW_LINES, { wait_s, signal }));
        if (ended) return;
      }
      failed = 0;
      // A job's last lines may come just after its end: they are read once more.
      const over = !isLive(store.status ?? "");
      await sleep(over || plain ? POLL_MS : GATHER_MS, signal);
      if (plain) plain -= 1;
    } catch (error) {
      if (signal.aborted) return;
      store.failed(error);
      const soonest = again(error);
      if (soonest === null) return;
      plain = PLAIN_POLLS;
      const slowed = Math.min(SLOWEST_MS, POLL_MS * 2 ** Math.min(failed, 5));
      await sleep(Math.max(soonest, slowed), signal);
      failed += 1;
    }
  }
}
