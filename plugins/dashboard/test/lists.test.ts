import { render } from "@testing-library/react";
import { createElement, Fragment } from "react";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";

import { ApiError } from "../src/app/api";
import { ListStore } from "../src/app/jobList";
import type { JobList, Row } from "../src/app/types";
import { chips } from "../src/lib/filters";
import { append, begin, prepend, renew, rowsOf, type ListWindow } from "../src/lib/listWindow";
import { named } from "../src/pages/lists/JumpTo";
import { standing } from "../src/pages/lists/order";
import { marks, spanOf, startOfDay } from "../src/pages/lists/spans";
import { entriesOf } from "../src/parts/batchRows";
import { column, ordinal, shownState } from "../src/parts/jobColumns";

function row(n: number, more: Partial<Row> = {}): Row {
  const id = String(n).padStart(24, "0");
  return { id, status: "completed", user: "ana", created: n, finished: n, ...more };
}

/** A list on the server: rows with their ends from `top` down to 1, pages of `size`. */
function server(top: number, size: number) {
  const all = Array.from({ length: top }, (_, at) => row(top - at));
  const page = (cursor: string | null): JobList => {
    const back = cursor?.startsWith("<") ?? false;
    const place = cursor === null ? 0 : Number(cursor.slice(1));
    const from = back ? Math.max(0, place - size) : place;
    const items = all.slice(from, back ? place : from + size);
    return {
      items,
      next: from + items.length < all.length ? `>${from + items.length}` : null,
      prev: from > 0 ? `<${from}` : null,
      count: cursor === null ? { value: Math.min(all.length, 1000), exact: false } : null,
      as_of: 1,
      version: "1:1",
    };
  };
  return { all, page };
}

const ids = (window: ListWindow) => rowsOf(window).map(({ created }) => created);

describe("the window on a list", () => {
  test("a thousand rows at most, none twice, none missed, there and back", () => {
    const { page } = server(3000, 50);
    let window = begin(page(null), "-finished");
    const seen = new Set(ids(window));
    for (let cursor = window.pages.at(-1)?.next; cursor; cursor = window.pages.at(-1)?.next) {
      window = append(window, page(cursor), cursor);
      expect(rowsOf(window).length).toBeLessThanOrEqual(1000);
      for (const one of ids(window)) seen.add(one);
    }
    expect(seen.size).toBe(3000);
    expect(window.before).toBe(2000);
    expect(ids(window)).toEqual(Array.from({ length: 1000 }, (_, at) => 1000 - at));
    for (let cursor = window.pages[0]?.prev; cursor; cursor = window.pages[0]?.prev)
      window = prepend(window, page(cursor), cursor);
    expect(window.before).toBe(0);
    expect(ids(window)).toEqual(Array.from({ length: 1000 }, (_, at) => 3000 - at));
  });

  test("changes stay in place, gone rows leave, new ones are counted once", () => {
    const { page } = server(100, 50);
    let window = begin(page(null), "-finished");
    const change = {
      items: [row(102), row(101), row(80, { narrative: "renamed" }), row(3)],
      gone: [row(99).id],
    };
    window = renew(window, change, { sort: "-finished", insert: false });
    window = renew(window, { items: [row(102)], gone: [] }, { sort: "-finished", insert: false });
    expect(window.fresh.size).toBe(2);
    expect(ids(window).slice(0, 3)).toEqual([100, 98, 97]);
    expect(rowsOf(window).find(({ created }) => created === 80)?.narrative).toBe("renamed");
    expect(ids(window)).not.toContain(3);
  });

  test("what did not change is the same object", () => {
    const { page } = server(10, 50);
    const before = begin(page(null), "-created");
    const after = renew(before, { items: [row(5)], gone: [] }, { sort: "-created", insert: true });
    expect(rowsOf(after)[0]).toBe(rowsOf(before)[0]);
    expect(renew(before, { items: [], gone: [] }, { sort: "-created", insert: true })).toBe(before);
  });

  test("a live list takes what is new", () => {
    const before = begin(server(2, 50).page(null), "-created");
    const after = renew(before, { items: [row(9)], gone: [] }, { sort: "-created", insert: true });
    expect(ids(after)).toEqual([9, 2, 1]);
  });
});

describe("a list by index", () => {
  const page = (from: number, to: number, next: string | null, prev: string | null): JobList => ({
    items: Array.from({ length: to - from }, (_, at) => row(from + at, { index: from + at })),
    next,
    prev,
    count: null,
    as_of: 1,
    version: "1:1",
  });
  const later = (index: number) => row(900 + index, { index });
  const change = (index: number) => ({ items: [later(index)], gone: [row(index).id] });
  const by = { sort: "index", insert: false } as const;

  test("a later attempt stands where the one before it stood", () => {
    let window = append(begin(page(0, 3, ">3", null), "index"), page(3, 6, null, "<3"), ">3");
    for (const index of [0, 2, 3, 5]) window = renew(window, change(index), by);
    expect(ids(window)).toEqual([900, 1, 902, 903, 4, 905]);
    expect(window.fresh.size).toBe(0);
  });

  test("what belongs before or after what is held is not shown", () => {
    const whole = append(begin(page(0, 3, ">3", null), "index"), page(3, 6, ">6", "<3"), ">3");
    const window = { ...whole, pages: whole.pages.slice(1), before: 3 };
    expect(ids(renew(window, { items: [later(1), later(7)], gone: [] }, by))).toEqual([3, 4, 5]);
  });
});

describe("keeping a list fresh", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function store(answers: (url: string) => unknown, options = {}) {
    const asked: string[] = [];
    const ask = vi.fn(async (url: string) => {
      asked.push(url);
      const answer = answers(url);
      if (answer instanceof Error) throw answer;
      return answer;
    });
    const list = new ListStore("/api", { sort: "-created", ...options }, ask as never);
    return { list, asked };
  }
  const first = { items: [row(1, { status: "running" })], next: null, prev: null, count: null };
  const quiet = { reset: false, items: [], gone: [], as_of: 1, version: "1:2" };
  const usual = (url: string) => (url.includes("changes") ? quiet : { ...first, version: "1:1" });

  test("one call a tick: every 5 s while something is live, else every 30 s", async () => {
    let live = true;
    const { list, asked } = store((url) =>
      url.includes("changes")
        ? { ...quiet, gone: live ? [] : [row(1).id] }
        : { ...first, version: "1:1" },
    );
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBeGreaterThanOrEqual(10);
    expect(asked.length).toBeLessThanOrEqual(15);
    live = false;
    await vi.advanceTimersByTimeAsync(10_000);
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked.length - before).toBeGreaterThanOrEqual(3);
    expect(asked.length - before).toBeLessThanOrEqual(5);
    stop();
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked.length - before).toBeLessThanOrEqual(5);
  });

  test("trouble slows it down, and keeps the rows; the first answer makes it quick again", async () => {
    let down = false;
    const { list, asked } = store((url) => (down ? new ApiError(503, "no") : usual(url)));
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(6000);
    down = true;
    await vi.advanceTimersByTimeAsync(40_000);
    const before = asked.length;
    await vi.advanceTimersByTimeAsync(120_000);
    expect(asked.length - before).toBeLessThanOrEqual(4);
    expect(list.get().window && rowsOf(list.get().window as ListWindow).length).toBe(1);
    expect(list.get().error?.status).toBe(503);
    down = false;
    await vi.advanceTimersByTimeAsync(70_000);
    expect(list.get().error).toBeNull();
    stop();
  });

  test("Retry-After is obeyed", async () => {
    const { list, asked } = store(() => new ApiError(429, "slow", 50));
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(40_000);
    expect(asked.length).toBe(1);
    stop();
  });

  test("a reset reads the same pages anew", async () => {
    const { page } = server(200, 50);
    let reset = false;
    const { list, asked } = store((url) => {
      if (url.includes("changes")) return { ...quiet, reset };
      return page(new URL(url, "http://x").searchParams.get("cursor"));
    });
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(0);
    await list.more();
    await list.more();
    reset = true;
    const before = asked.length;
    await list.tick();
    expect(asked.length - before).toBe(4);
    expect(rowsOf(list.get().window as ListWindow).length).toBe(150);
    stop();
  });

  test("an answer is one step, and so is a failure: each step draws the page", async () => {
    let down = false;
    const { list } = store((url) => (down ? new ApiError(503, "no") : usual(url)));
    const steps = vi.fn();
    list.listen(steps);
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(0);
    expect(list.get()).toMatchObject({ version: "1:1", error: null, failedAt: null });
    expect(steps).toHaveBeenCalledTimes(1);
    await list.tick();
    expect(list.get().version).toBe("1:2");
    expect(steps).toHaveBeenCalledTimes(2);
    down = true;
    await list.tick();
    expect(list.get()).toMatchObject({ version: "1:2", error: { status: 503 } });
    expect(steps).toHaveBeenCalledTimes(3);
    stop();
  });

  test("pages that fail while a list is read anew lose no change", async () => {
    const { page } = server(200, 50);
    let reset = false;
    let broken = false;
    const { list, asked } = store((url) => {
      if (url.includes("changes")) return { ...quiet, reset };
      const cursor = new URL(url, "http://x").searchParams.get("cursor");
      const version = `1:${asked.length}`;
      return broken && cursor ? new ApiError(503, "no") : { ...page(cursor), version };
    });
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(0);
    await list.more();
    const since = list.get().version;
    reset = broken = true;
    await list.tick();
    expect(list.get().error?.status).toBe(503);
    expect(rowsOf(list.get().window as ListWindow).length).toBe(100);
    broken = false;
    await list.tick(); // asks since the rows that are shown, not since those that were lost
    expect(asked.at(-3)).toContain(`since=${encodeURIComponent(String(since))}`);
    expect(list.get().error).toBeNull();
    stop();
  });

  test("held still it asks for nothing; what was lost comes at the end of it", async () => {
    const { list, asked } = store(usual);
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(1000);
    list.hold(true);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked.length).toBe(1);
    list.hold(false);
    await vi.advanceTimersByTimeAsync(0);
    expect(asked.length).toBe(2);
    stop();
  });

  test("what may no longer be read is not shown any more", async () => {
    let hidden = false;
    const { list } = store(() => (hidden ? new ApiError(404, "no") : { ...first, version: "1:1" }));
    const stop = list.start();
    await vi.advanceTimersByTimeAsync(0);
    hidden = true;
    await list.tick();
    expect(list.get().window).toBeNull();
    stop();
  });
});

describe("rows", () => {
  test("a batch that has ended ran from when it was submitted to its end", () => {
    const ran = (more: Partial<Row>) => {
      const cell = column("ran").cell(row(1000, more), { asked: undefined, stand: undefined });
      return render(createElement(Fragment, null, cell)).container.textContent;
    };
    expect(ran({ is_batch: true, finished: 8000 })).toBe("7 s");
    expect(ran({ is_batch: true, finished: 8000, running: 3000 })).toBe("5 s");
    expect(ran({ is_batch: true, finished: null })).toBe("–");
    expect(ran({ finished: 8000 })).toBe("–");
  });

  test("running first, then by place, then the newest", () => {
    const rows = [
      row(5, { status: "created" }),
      row(4, { status: "queued" }),
      row(3, { status: "queued" }),
      row(2, { status: "running" }),
      row(6, { status: "running" }),
    ];
    const stands = new Map([
      [row(3).id, { position: 2, in_line: 9, group: "njs", why: null }],
      [row(4).id, { position: 7, in_line: 9, group: "njs", why: null }],
    ]);
    expect(standing(rows, stands).map(({ created }) => created)).toEqual([6, 2, 3, 4, 5]);
  });

  test("an open batch is followed by its children and by how many more there are", () => {
    const batch = row(1, { is_batch: true, children: { completed: 30 } });
    const open = new Set([batch.id]);
    expect(entriesOf([batch], open, new Map()).map(({ more }) => more)).toEqual([undefined, null]);
    const children = new Map([[batch.id, [row(2), row(3)]]]);
    expect(entriesOf([batch, row(9)], open, children).map(({ more }) => more)).toEqual([
      undefined,
      undefined,
      undefined,
      28,
      undefined,
    ]);
  });

  test.each([
    [1, "1st"],
    [2, "2nd"],
    [3, "3rd"],
    [11, "11th"],
    [112, "112th"],
    [21, "21st"],
  ])("%s is the %s", (n, words) => expect(ordinal(n)).toBe(words));

  test("what was asked counts only while the job lives", () => {
    expect(shownState(row(1, { status: "running" }), 5)).toBe("cancelling");
    expect(shownState(row(1, { status: "terminated" }), 5)).toBe("terminated");
    expect(shownState(row(1, { status: "error", superseded: true }), undefined)).toBe("retried");
  });
});

describe("filters", () => {
  test("what is set, in words", () => {
    const search = new URLSearchParams("error=3&min_run=2h&nonsense=1&q=abc");
    expect(chips(search, ["error", "min_run", "q"]).map(({ text }) => text)).toEqual([
      "Failed because: over its time limit",
      "Ran at least: 2h",
      "Search: abc",
    ]);
  });

  test.each([
    ["", "week"],
    ["span=year", "year"],
    ["span=nonsense", "week"],
    ["from=1", "custom"],
    ["from=1&span=all", "all"],
  ])("the span of %s is %s", (search, span) =>
    expect(spanOf(new URLSearchParams(search))).toBe(span),
  );

  test("days begin when they begin in the zone, also where clocks change", () => {
    const start = (date: string, zone: string) => new Date(startOfDay(date, zone)).toISOString();
    expect(start("2026-11-23", "UTC")).toBe("2026-11-23T00:00:00.000Z");
    expect(start("2026-11-23", "Europe/Berlin")).toBe("2026-11-22T23:00:00.000Z");
    expect(start("2026-03-29", "Europe/Berlin")).toBe("2026-03-28T23:00:00.000Z");
    expect(start("2026-03-30", "Europe/Berlin")).toBe("2026-03-29T22:00:00.000Z");
    expect(start("2026-11-23", "Pacific/Auckland")).toBe("2026-11-22T11:00:00.000Z");
  });

  test("the days of a week, the months of a year", () => {
    const day = 86_400_000;
    const to = Date.parse("2026-11-23T12:00:00Z");
    const week = marks(to - 7 * day, to, "UTC");
    expect([week.length, week[0]?.label, week.at(-1)?.label]).toEqual([8, "23 Nov", "16 Nov"]);
    expect(week[0]?.end).toBe(Date.parse("2026-11-24T00:00:00Z"));
    const year = marks(to - 366 * day, to, "UTC");
    expect([year.length, year[0]?.label, year.at(-1)?.label]).toEqual([13, "Nov 2026", "Nov 2025"]);
    expect(year[1]?.end).toBe(Date.parse("2026-11-01T00:00:00Z"));
  });

  test.each([
    ["66f2a1", { q: "66f2a1" }],
    ["4711.0", { scheduler: "4711.0" }],
    ["4711", { scheduler: "4711" }],
    ["12345678", { q: "12345678" }],
    ["66f", null],
    ["<img>", null],
    ["", null],
  ])("%s names %o", (text, found) => expect(named(text)).toEqual(found));
});
