import { describe, expect, test, vi } from "vitest";

import { followLog, type FollowTools } from "../src/lib/logfollow";
import { LogStore, type LogAnswer, type ReadLines } from "../src/lib/logstore";

function answer(from: number, lines: number, status: string): LogAnswer {
  return {
    id: "x",
    status,
    from,
    lines: Array.from({ length: lines }, (_, at) => ({
      n: from + at,
      t: null,
      err: false,
      text: "x",
    })),
    count: from + lines,
    next: from + lines,
    note: null,
  };
}

function tools(answers: (LogAnswer | Error)[], first: LogAnswer) {
  const slept: number[] = [];
  const read = vi.fn<ReadLines>(async () => {
    const next = answers.shift();
    if (!next) throw new Error("no more");
    if (next instanceof Error) throw next;
    return next;
  });
  const given: FollowTools = {
    read,
    tail: async () => first,
    sleep: async (ms) => void slept.push(ms),
    seen: async () => undefined,
    again: (error) => ((error as Error).message === "no more" ? null : 0),
  };
  return { given, read, slept };
}

describe("following", () => {
  test("long polls from the last line on, and once more after the end", async () => {
    const { given, read } = tools(
      [answer(5, 2, "running"), answer(7, 1, "completed"), answer(8, 1, "completed")],
      answer(0, 5, "running"),
    );
    const store = new LogStore(read);
    await followLog(store, given, new AbortController().signal);
    expect(read.mock.calls.map(([from, , how]) => [from, how.wait_s])).toEqual([
      [5, 20],
      [7, 20],
      [8, undefined],
    ]);
    expect(store.count).toBe(9);
    expect(store.line(8)?.n).toBe(8);
  });

  test("after a failure it polls every 2 s, slower with each failure", async () => {
    const { given, read, slept } = tools(
      [new Error("cut"), new Error("cut"), answer(5, 1, "running")],
      answer(0, 5, "running"),
    );
    await followLog(new LogStore(read), given, new AbortController().signal);
    expect(slept).toEqual([300, 2000, 4000, 2000]);
    expect(read.mock.calls.map(([, , how]) => how.wait_s)).toEqual([
      20,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test("a job that has ended is read no more than once again", async () => {
    const { given, read } = tools([answer(5, 0, "error")], answer(0, 5, "error"));
    await followLog(new LogStore(read), given, new AbortController().signal);
    expect(read).toHaveBeenCalledTimes(1);
  });
});
