import { useCallback, useEffect, useMemo, useState, useSyncExternalStore } from "react";

import { ApiError, call } from "../../app/api";
import { useHome } from "../../app/home";
import { followLog } from "../../lib/logfollow";
import { LogStore, type LogAnswer, type ReadLines } from "../../lib/logstore";
import { pathOfPart } from "../job/useJobPage";

/** Waits, or not if the signal comes first. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(over, ms);
    function over() {
      clearTimeout(timer);
      signal.removeEventListener("abort", over);
      done();
    }
    signal.addEventListener("abort", over);
  });
}

/** Waits until the tab is shown. */
function seen(signal: AbortSignal): Promise<void> {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      done();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}

function again(error: unknown): number | null {
  if (!(error instanceof ApiError)) return null;
  if (error.signedOut) return 10_000; // the view is kept, and goes on after signing in
  return error.passing ? (error.retryAfterS ?? 0) * 1000 : null;
}

export interface FollowedLog {
  store: LogStore;
  read: ReadLines;
  /** Asks at once, and goes on after a failure. */
  refresh: () => void;
}

/** The log of a job, followed while the job lives and the page is shown. */
export function useLog(id: string, admin: boolean): FollowedLog {
  const { api } = useHome();
  const made = useMemo(() => {
    const path = (more: Record<string, string | number | boolean | undefined>) =>
      api + pathOfPart(id, "/log", admin, more);
    const read: ReadLines = (from, limit, { wait_s, full, signal }) =>
      call<LogAnswer>(path({ from, limit, wait: wait_s, full }), { signal });
    const tail = (signal: AbortSignal) => call<LogAnswer>(path({ tail: 200 }), { signal });
    return { store: new LogStore(read), read, tail };
  }, [api, id, admin]);
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stopper = new AbortController();
    const { store, read, tail } = made;
    void followLog(store, { read, tail, sleep, seen, again }, stopper.signal);
    return () => {
      stopper.abort();
      store.stop();
    };
  }, [made, round]);
  useSyncExternalStore(made.store.listen, () => made.store.version);
  const refresh = useCallback(() => setRound((before) => before + 1), []);
  return { store: made.store, read: made.read, refresh };
}
