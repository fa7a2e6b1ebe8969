/** Lists of jobs: read by pages, kept fresh by what has changed since. */

import { useEffect, useMemo, useSyncExternalStore } from "react";
import { useLocation } from "react-router-dom";

import { serverNow } from "../lib/clock";
import {
  append,
  begin,
  MOST_ROWS,
  prepend,
  renew,
  rowsOf,
  type ListWindow,
  type Sort,
} from "../lib/listWindow";
import { isLive } from "../lib/states";
import { query } from "../lib/words";
import { ApiError, call } from "./api";
import { useHome } from "./home";
import { pause, type Live } from "./live";
import type { Answer, JobList, Row } from "./types";

export type Scope = "mine" | "readable" | "all";

const LIVE_MS = 5000;
const QUIET_MS = 30_000;
/** Lists that were left, kept for the way back to them. */
const KEPT = 6;

export interface ListOptions {
  scope?: Scope;
  /** The filter words, as of the API. */
  words?: Readonly<Record<string, string | undefined>>;
  sort?: Sort;
  /** Rows of a page. 100 rows are some 45 kB. */
  limit?: number;
  /** Also attempts that were superseded. */
  attempts?: boolean;
  /** Rows that are new join the list at once (lists of what is live, which the page sorts); else
   * they are counted as `fresh`, so that nothing jumps. */
  insert?: boolean;
  /** Read all pages at once, up to the 1,000 rows that are held. */
  whole?: boolean;
  /** Hold everything still. */
  paused?: boolean;
  enabled?: boolean;
  /** Only what was submitted (or, sorted by that, ended) in the last so many ms, counted from when
   * the list was opened. */
  recent?: number;
}

interface Shown {
  window: ListWindow | null;
  /** What the window is the state of; changes are asked for since then. */
  version: string | null;
  count: Answer<"CountOf"> | null;
  error: ApiError | null;
  readAt: number;
  failedAt: number | null;
}

/** What a page remembers of how it was left: to be written to as one likes. */
export interface ListMemory {
  /** How far the table's own box was scrolled. */
  top?: number;
  /** How far the page was. */
  page?: number;
  /** The row that has the focus. */
  row?: string;
}

export interface JobListView extends Omit<Live<readonly Row[]>, "data"> {
  rows: readonly Row[];
  /** How many rows stand before the first of `rows`: they were dropped from memory. */
  before: number;
  count: Answer<"CountOf"> | null;
  /** Reads the page after the last row, or before the first; null: there is none. */
  more: (() => void) | null;
  back: (() => void) | null;
  /** How many rows have come to the list's beginning and are not shown. */
  fresh: number;
  /** Reads the list from its beginning again. */
  anew: () => void;
  memory: ListMemory;
}

/** One list. Calls run one after another, so that no old page overwrites a newer change. */
export class ListStore {
  readonly memory: ListMemory = {};
  private shown: Shown = {
    window: null,
    version: null,
    count: null,
    error: null,
    readAt: 0,
    failedAt: null,
  };
  private failed = 0;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private users = 0;
  private paused = false;
  private chain: Promise<void> = Promise.resolve();
  private pending = new Set<string>();
  private readonly listeners = new Set<() => void>();
  private readonly sort: Sort;
  private readonly asked: Record<string, string | number | boolean | undefined>;

  constructor(
    private readonly api: string,
    readonly options: ListOptions,
    private readonly ask: typeof call = call,
  ) {
    this.sort = options.sort ?? "-created";
    const { scope, words = {}, sort, attempts, recent } = options;
    const from = recent === undefined ? words.from : String(serverNow() - recent);
    this.asked = { ...words, from, scope, sort, attempts };
  }

  readonly get = (): Shown => this.shown;

  readonly listen = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Begins to keep it fresh; gives what ends that. */
  start(): () => void {
    this.users += 1;
    if (this.users === 1) {
      stores.add(this);
      document.addEventListener("visibilitychange", this.looked);
      window.addEventListener("online", this.looked);
      void this.tick();
    }
    return () => {
      this.users -= 1;
      if (this.users) return;
      stores.delete(this);
      document.removeEventListener("visibilitychange", this.looked);
      window.removeEventListener("online", this.looked);
      this.unplan();
    };
  }

  hold(paused: boolean): void {
    if (this.paused === paused) return;
    this.paused = paused;
    if (paused) this.unplan();
    else if (this.users) void this.tick();
  }

  /** Asks for what is new, now. */
  readonly tick = (): Promise<void> =>
    this.once("tick", async () => {
      this.unplan();
      const { window, version } = this.shown;
      const first = window === null || version === null;
      const read = await (first ? this.readFirst() : this.readChanges(window, version));
      this.failed = 0;
      return { ...read, error: null, failedAt: null, readAt: serverNow() };
    });

  readonly anew = (): Promise<void> =>
    this.once("anew", async () => {
      const read = await this.readFirst();
      return { ...read, error: null, failedAt: null, readAt: serverNow() };
    });

  readonly more = (): Promise<void> =>
    this.once("more", async () => {
      const window = this.shown.window;
      const cursor = window?.pages.at(-1)?.next;
      if (!window || !cursor) return {};
      return { window: append(window, await this.page(cursor), cursor) };
    });

  readonly back = (): Promise<void> =>
    this.once("back", async () => {
      const window = this.shown.window;
      const cursor = window?.pages[0]?.prev;
      if (!window || !cursor) return {};
      return { window: prepend(window, await this.page(cursor), cursor) };
    });

  /**
   * Runs after what runs already; not at all if the same waits. Notes what it gives, or that it
   * failed, in one step: each step is a drawing of the page.
   */
  private once(name: string, work: () => Promise<Partial<Shown>>): Promise<void> {
    if (this.pending.has(name)) return this.chain;
    this.pending.add(name);
    this.chain = this.chain.then(async () => {
      const change = await work().catch((problem: unknown) => this.failure(problem));
      // Who asks for the same from here on is heard again.
      this.pending.delete(name);
      this.set(change);
      if (name === "tick" || change.error) this.plan();
    });
    return this.chain;
  }

  private failure(problem: unknown): Partial<Shown> {
    this.failed += 1;
    const error =
      problem instanceof ApiError ? problem : new ApiError(0, "The server does not answer.");
    return {
      error,
      failedAt: serverNow(),
      ...(error.hidden ? { window: null, count: null } : {}),
    };
  }

  private page(cursor: string | null): Promise<JobList> {
    const { limit } = this.options;
    return this.ask(`${this.api}/jobs${query({ ...this.asked, limit, cursor })}`);
  }

  private async readFirst(): Promise<Partial<Shown>> {
    let answer = await this.page(null);
    let window = begin(answer, this.sort);
    const { count, version } = answer;
    while (this.options.whole && answer.next && rowsOf(window).length < MOST_ROWS) {
      const cursor = answer.next;
      answer = await this.page(cursor);
      window = append(window, answer, cursor);
    }
    return { window, version, count };
  }

  private async readChanges(window: ListWindow, since: string): Promise<Partial<Shown>> {
    const { insert = false } = this.options;
    const asked = query({ ...this.asked, since });
    const answer: Answer<"Changes"> = await this.ask(`${this.api}/jobs/changes${asked}`);
    if (answer.reset) return this.readAgain(window);
    const { version } = answer;
    return { window: renew(window, answer, { sort: this.sort, insert }), version };
  }

  /** The same pages once more: too much has changed, or too long ago. */
  private async readAgain(before: ListWindow): Promise<Partial<Shown>> {
    const [first] = before.pages;
    if (!first || this.options.whole) return this.readFirst();
    const wanted = before.pages.length;
    if (first.cursor === null) {
      const read = await this.readFirst();
      let window = read.window ?? null;
      for (let at = 1; at < wanted; at += 1) {
        const cursor = window?.pages.at(-1)?.next;
        if (!window || !cursor) break;
        window = append(window, await this.page(cursor), cursor);
      }
      return { ...read, window };
    }
    let cursor: string | null = first.cursor;
    let window: ListWindow = { ...before, pages: [] };
    let version: string | null = null;
    for (let at = 0; at < wanted && cursor !== null; at += 1) {
      const answer: JobList = await this.page(cursor);
      version ??= answer.version;
      window = append(window, answer, cursor);
      cursor = answer.next;
    }
    return { window, version };
  }

  private set(change: Partial<Shown>): void {
    this.shown = { ...this.shown, ...change };
    for (const listener of this.listeners) listener();
  }

  private readonly looked = (): void => {
    if (document.visibilityState === "hidden") this.unplan();
    else if (!this.paused) void this.tick();
  };

  private unplan(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private plan(): void {
    this.unplan();
    if (!this.users || this.paused || document.visibilityState === "hidden") return;
    const { error, window } = this.shown;
    const live = window !== null && rowsOf(window).some((row) => isLive(row.status));
    // Who is signed out may sign in again in another tab.
    const every = error && !error.passing ? 2 * QUIET_MS : live ? LIVE_MS : QUIET_MS;
    const failed = error?.passing ? this.failed : 0;
    this.timer = setTimeout(
      () => void this.tick(),
      pause(every, failed, error?.retryAfterS ?? null),
    );
  }
}

/** The lists that are shown now. */
const stores = new Set<ListStore>();

/** Lists by where in the browser's history they were shown, for the way back to them. */
const kept = new Map<string, ListStore>();

/** All lists ask for what is new, now: something has been done. */
export function pokeLists(): void {
  for (const store of stores) void store.tick();
}

function storeOf(name: string, api: string, options: ListOptions): ListStore {
  // Another word in the address that is none of the list's is no reason to read it anew.
  const said = JSON.stringify(options);
  const shown = [...stores].find((store) => JSON.stringify(store.options) === said);
  const store = kept.get(name) ?? shown ?? new ListStore(api, options);
  kept.delete(name);
  kept.set(name, store);
  for (const oldest of kept.keys()) {
    if (kept.size <= KEPT) break;
    kept.delete(oldest);
  }
  return store;
}

/** A list of jobs, kept fresh. The one that was left is found again, as it was, by going back. */
export function useJobList(options: ListOptions): JobListView {
  const { api } = useHome();
  const { key } = useLocation();
  const { paused = false, enabled = true, ...rest } = options;
  const name = JSON.stringify([key, api, rest]);
  const store = useMemo(() => {
    const [, , wanted] = JSON.parse(name) as [string, string, ListOptions];
    return storeOf(name, api, wanted);
  }, [name, api]);
  useEffect(() => (enabled ? store.start() : undefined), [store, enabled]);
  useEffect(() => store.hold(paused), [store, paused]);
  const shown = useSyncExternalStore(store.listen, store.get);
  const { window, count, error, readAt, failedAt } = shown;
  const loading = window === null && error === null && enabled;
  const rows = useMemo(() => (window ? rowsOf(window) : []), [window]);
  return {
    rows,
    before: window?.before ?? 0,
    count,
    loading,
    busy: loading,
    error,
    readAt,
    failedAt,
    refresh: store.tick,
    anew: store.anew,
    more: window?.pages.at(-1)?.next ? store.more : null,
    back: window?.pages[0]?.prev ? store.back : null,
    fresh: window?.fresh.size ?? 0,
    memory: store.memory,
  };
}
