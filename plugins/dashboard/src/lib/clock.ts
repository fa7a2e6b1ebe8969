/** One clock for all that ticks: server time, once a second. */

import { useSyncExternalStore } from "react";

let ahead = 0;
let now = Date.now();
let timer: ReturnType<typeof setInterval> | null = null;
const listeners = new Set<() => void>();

/** The server's time as an answer said it; differences below a second are the network's. */
export function serverSaid(asOf: number): void {
  const apart = asOf - Date.now();
  if (Math.abs(apart - ahead) > 1000) ahead = apart;
}

/** The server's time now, ms. */
export function serverNow(): number {
  return Date.now() + ahead;
}

function listen(listener: () => void): () => void {
  listeners.add(listener);
  timer ??= setInterval(() => {
    now = serverNow();
    for (const one of listeners) one();
  }, 1000);
  return () => {
    listeners.delete(listener);
    if (!listeners.size && timer) {
      clearInterval(timer);
      timer = null;
    }
  };
}

/** The server's time, renewed once a second. */
export function useNow(): number {
  return useSyncExternalStore(listen, () => {
    // Before the clock ticks; the same answer twice in a row, as React asks for.
    if (!timer && Math.abs(serverNow() - now) >= 1000) now = serverNow();
    return now;
  });
}
