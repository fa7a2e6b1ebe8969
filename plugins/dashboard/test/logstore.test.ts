import { describe, expect, test, vi } from "vitest";

import {
  LogStore,
  marksIn,
  PAGE_LINES,
  rangeOf,
  rangeText,
  sinceStart,
  type ReadLines,
} from "../src/lib/logstore";

function linesOf(total: number) {
  return vi.fn<ReadLines>(async (from, limit) => {
    const until = Math.min(total, from + limit);
    const lines = Array.from({ length: Math.max(0, until - from) }, (_, at) => ({
      n: from + at,
      t: 1000 + from + at,
      err: false,
      text: `line ${from + at}`,
    }));
    return { id: "x", status: "completed", from, lines, count: total, next: until, note: null };
  });
}

const settled = () => new Promise((done) => setTimeout(done, 0));

async function storeOf(total: number) {
  const read = linesOf(total);
  const store = new LogStore(read);
  store.take(await read(0, 1, { signal: new AbortController().signal }));
  read.mockClear();
  return { store, read };
}

describe("reading by number", () => {
  test("what is looked at is read once, in pages", async () => {
    const { store, read } = await storeOf(100_000);
    store.want(73_400, 73_440);
    store.want(73_401, 73_441);
    await settled();
    expect(read).toHaveBeenCalledTimes(1);
    expect(read.mock.calls[0]?.slice(0, 2)).toEqual([72_000, PAGE_LINES]);
    expect(store.line(73_412)?.text).toBe("line 73412");
    store.want(73_990, 74_030);
    await settled();
    expect(read.mock.calls.map((call) => call[0])).toEqual([72_000, 74_000]);
    expect(store.line(74_030)?.n).toBe(74_030);
  });

  test("no more than some pages are kept, and never those in sight given up", async () => {
    const { store } = await storeOf(1_000_000);
    for (let first = 0; first < 900_000; first += 7_000) {
      store.want(first, first + 60);
      await settled();
      expect(store.line(first)?.n).toBe(first);
    }
    expect(store.kept).toBeLessThanOrEqual(12 * PAGE_LINES);
  });

  test("a read for lines that are not looked at any more is given up", async () => {
    const { store, read } = await storeOf(100_000);
    store.want(50_000, 50_040);
    const signal = read.mock.calls[0]?.[2].signal;
    store.want(10_000, 10_040);
    expect(signal?.aborted).toBe(true);
    await settled();
    expect(store.line(50_000)).toBeUndefined();
    expect(store.line(10_000)?.n).toBe(10_000);
  });

  test("lines that come later are read from where the page ended", async () => {
    const { store, read } = await storeOf(2_100);
    store.want(2_050, 2_099);
    await settled();
    const later = linesOf(2_200);
    read.mockImplementation(later);
    store.take(await later(2_150, 1, { signal: new AbortController().signal }));
    store.want(2_090, 2_199);
    await settled();
    expect(read.mock.calls.at(-1)?.[0]).toBe(2_100);
    expect(store.line(2_199)?.text).toBe("line 2199");
  });

  test("a failure is kept until an answer comes", async () => {
    const { store, read } = await storeOf(5_000);
    read.mockRejectedValueOnce(new Error("no answer"));
    store.want(3_000, 3_040);
    await settled();
    expect(store.error).toBeInstanceOf(Error);
    store.want(3_000, 3_040);
    await settled();
    expect(store.error).toBeNull();
    expect(store.line(3_000)?.n).toBe(3_000);
  });
});

test("ranges of lines in addresses", () => {
  expect(rangeOf("1204")).toEqual([1204, 1204]);
  expect(rangeOf("12-10")).toEqual([10, 12]);
  for (const bad of [null, "", "x", "-3", "1-", "1e3", "9".repeat(30)])
    expect(rangeOf(bad)).toBeNull();
  expect(rangeText([3, 3])).toBe("3");
  expect(rangeText([3, 9])).toBe("3-9");
});

test("times since the start", () => {
  expect(sinceStart(0)).toBe("+00:00:00");
  expect(sinceStart(723_400)).toBe("+00:12:03");
  expect(sinceStart(2 * 86_400_000 + 1000)).toBe("+2d 00:00:01");
  expect(sinceStart(-1500)).toBe("-00:00:01");
});

test("marks of a part of a long line", () => {
  expect(marksIn("say zebra", { text: "say zebra", marks: [[4, 9]] })).toEqual([[4, 9]]);
  const line = `${"a".repeat(300)} zebra ${"b".repeat(300)}`;
  const found = { text: `… ${line.slice(241, 481)}…`, marks: [[62, 67]] as [number, number][] };
  expect(marksIn(line, found).map(([from, to]) => line.slice(from, to))).toEqual(["zebra"]);
  expect(marksIn("other", found)).toEqual([]);
});
