/** What this reader has asked to be cancelled, and when: shown until the engine says how it is. */

import { useSyncExternalStore } from "react";

import { serverNow } from "../lib/clock";

// Nobody waits for an hour for a cancel to come true; then what the engine says is the truth.
const FORGOTTEN_MS = 60 * 60_000;

let asked: ReadonlyMap<string, number> = new Map();
const listeners = new Set<() => void>();

/** Notes that jobs were asked to be cancelled, now. */
export function noteCancel(ids: readonly string[]): void {
  const now = serverNow();
  const next = new Map([...asked].filter(([, at]) => now - at < FORGOTTEN_MS));
  for (const id of ids) next.set(id, now);
  asked = next;
  for (const listener of listeners) listener();
}

/** When each of the jobs was asked to be cancelled (server's time, ms), by id. */
export function useAsked(): ReadonlyMap<string, number> {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => asked,
  );
}
