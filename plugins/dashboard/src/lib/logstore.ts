/** The lines of a log that are near to what is looked at: read by number, in pages, a few of which
 * are kept. Knows nothing of React or of addresses. */

import type { Answer } from "../app/types";

export type LogLine = Answer<"LogLine">;
export type LogAnswer = Answer<"LogAnswer">;

export const PAGE_LINES = 2000;
const KEPT_PAGES = 12;

/** Reads lines: from a number, so many at most; `wait_s`: waits so long for the first of them. */
export type ReadLines = (
  from: number,
  limit: number,
  options: { wait_s?: number; full?: boolean; signal: AbortSignal },
) => Promise<LogAnswer>;

export class LogStore {
  /** Rises whenever anything here has changed. */
  version = 0;
  count = 0;
  status: string | null = null;
  note: string | null = null;
  /** Why the newest read failed, if it did. */
  error: unknown = null;
  failedAt: number | null = null;
  /** When the newest answer came, ms of this clock. */
  readAt = 0;
  /** Whether the first answer has come. */
  known = false;

  private readonly pages = new Map<number, (LogLine | undefined)[]>();
  private readonly whole = new Map<number, LogLine>();
  private readonly reading = new Map<number, AbortController>();
  private readonly listeners = new Set<() => void>();

  constructor(private readonly read: ReadLines) {}

  readonly listen = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }

  /** A line, if it has been read. */
  line(n: number): LogLine | undefined {
    return this.whole.get(n) ?? this.pages.get(Math.floor(n / PAGE_LINES))?.[n % PAGE_LINES];
  }

  /** Takes an answer in. */
  take(answer: LogAnswer): void {
    this.count = Math.max(this.count, answer.count);
    this.status = answer.status;
    this.note = answer.note;
    this.known = true;
    this.error = this.failedAt = null;
    this.readAt = Date.now();
    for (const line of answer.lines) {
      const number = Math.floor(line.n / PAGE_LINES);
      let page = this.pages.get(number);
      if (!page) this.pages.set(number, (page = []));
      page[line.n % PAGE_LINES] = line;
    }
    this.changed();
  }

  failed(error: unknown): void {
    this.error = error;
    this.failedAt = Date.now();
    this.changed();
  }

  /** These lines are looked at: reads what is missing of them, gives up on what is not looked at
   * any more, forgets what is far away. */
  want(first: number, last: number): void {
    const from = Math.floor(Math.max(0, first) / PAGE_LINES);
    const to = Math.floor(Math.max(0, last) / PAGE_LINES);
    for (const [number, reader] of this.reading)
      if (number < from || number > to) {
        reader.abort();
        this.reading.delete(number);
      }
    for (let number = from; number <= to; number += 1) this.complete(number, first, last);
    this.forget(from, to);
  }

  private complete(number: number, first: number, last: number): void {
    if (this.reading.has(number)) return;
    const start = number * PAGE_LINES;
    const page = this.pages.get(number) ?? [];
    this.pages.delete(number); // the newest stands last
    this.pages.set(number, page);
    const end = Math.min(last, start + PAGE_LINES - 1, this.count - 1);
    for (let n = Math.max(first, start); n <= end; n += 1)
      if (!page[n - start]) {
        // From the page's begin if that is missing, too: one read serves the way up as well.
        const begin = page[0] ? n : start;
        void this.fill(number, begin, start + PAGE_LINES - begin);
        return;
      }
  }

  private async fill(number: number, from: number, limit: number): Promise<void> {
    const reader = new AbortController();
    this.reading.set(number, reader);
    try {
      const answer = await this.read(from, limit, { signal: reader.signal });
      if (!reader.signal.aborted) this.take(answer);
    } catch (error) {
      if (!reader.signal.aborted) this.failed(error);
    } finally {
      if (this.reading.get(number) === reader) this.reading.delete(number);
    }
  }

  private forget(from: number, to: number): void {
    for (const number of this.pages.keys()) {
      if (this.pages.size <= KEPT_PAGES) break;
      if (number < from || number > to) this.pages.delete(number);
    }
  }

  /** Reads all of a line that was cut. */
  async showWhole(n: number): Promise<void> {
    const answer = await this.read(n, 1, { full: true, signal: new AbortController().signal });
    const line = answer.lines[0];
    if (!line || line.n !== n) return;
    this.whole.set(n, line);
    this.changed();
  }

  /** How many lines are kept (for tests and for the curious). */
  get kept(): number {
    let sum = 0;
    for (const page of this.pages.values()) sum += page.length;
    return sum;
  }

  stop(): void {
    for (const reader of this.reading.values()) reader.abort();
    this.reading.clear();
  }
}

/** "line=1204" or "line=1204-1210" of an address; null for anything else. */
export function rangeOf(text: string | null): [number, number] | null {
  const found = /^(\d{1,12})(?:-(\d{1,12}))?$/.exec(text ?? "");
  if (!found) return null;
  const first = Number(found[1]);
  const last = Number(found[2] ?? found[1]);
  return first <= last ? [first, last] : [last, first];
}

/** The other way round. */
export function rangeText([first, last]: readonly [number, number]): string {
  return first === last ? String(first) : `${first}-${last}`;
}

/** Time since a start as "+00:12:03"; with days before it if there are any. */
export function sinceStart(ms: number): string {
  const s = Math.floor(Math.abs(ms) / 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const days = Math.floor(s / 86400);
  const clock = `${two(Math.floor(s / 3600) % 24)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  return `${ms < 0 ? "-" : "+"}${days ? `${days}d ` : ""}${clock}`;
}

/** Where the matches that a search tells of stand in the line itself: a long line's are told of a
 * part of it, with dots at its ends. */
export function marksIn(
  line: string,
  found: { text: string; marks: readonly (readonly [number, number])[] },
): [number, number][] {
  if (found.text === line) return found.marks.map(([from, to]) => [from, to]);
  const before = found.text.startsWith("… ") ? 2 : 0;
  const after = found.text.endsWith("…") ? 1 : 0;
  const part = found.text.slice(before, found.text.length - after);
  const at = part ? line.indexOf(part) : -1;
  if (at < 0) return [];
  return found.marks.map(([from, to]) => [from - before + at, to - before + at]);
}
