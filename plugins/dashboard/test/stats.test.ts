import { renderHook } from "@testing-library/react";
import { expect, test } from "vitest";

import {
  barName,
  change,
  goodStep,
  jobsPath,
  lastOf,
  nextStart,
  points,
  reasonOf,
  startOf,
  wholeSeries,
  type Stats,
} from "../src/pages/stats/spans";
import { sortOf, useSorted } from "../src/pages/stats/Tables";

test("steps begin on days, Mondays and firsts, and end with the span", () => {
  expect(nextStart("2026-02-28", "day")).toBe("2026-03-01");
  expect(nextStart("2026-11-23", "week")).toBe("2026-11-30"); // a Monday
  expect(nextStart("2026-11-29", "week")).toBe("2026-11-30"); // a Sunday
  expect(nextStart("2026-12-15", "month")).toBe("2027-01-01");
  expect(lastOf("2026-11-23", "week", "2026-11-25")).toBe("2026-11-25");
  expect(lastOf("2026-11-01", "month", "2026-12-31")).toBe("2026-11-30");
});

test("days without runs have a bar, too", () => {
  const stats = { first: "2026-11-20", last: "2026-11-23", by: "day" };
  const series = [{ start: "2026-11-21", runs: 3 }];
  const bars = wholeSeries({ ...stats, series } as unknown as Stats);
  expect(bars.map(({ start, runs }) => [start, runs])).toEqual([
    ["2026-11-20", 0],
    ["2026-11-21", 3],
    ["2026-11-22", 0],
    ["2026-11-23", 0],
  ]);
});

test("a part of a bar leads to just its jobs", () => {
  const path = jobsPath("2026-11-16", "2026-11-22", {
    scope: "mine",
    status: "error",
    app: "m/a b&c",
  });
  const search = new URLSearchParams(path.split("?")[1]);
  expect(path).toMatch(/^\/jobs\/history\?/);
  expect(Number(search.get("from"))).toBe(Date.UTC(2026, 10, 16));
  expect(Number(search.get("to"))).toBe(Date.UTC(2026, 10, 23));
  expect([search.get("status"), search.get("app")]).toEqual(["error", "m/a b&c"]);
  expect(search.get("runs")).toBe("true");
  expect(jobsPath("2026-11-16", "2026-11-22", { scope: "all" })).toMatch(/^\/admin\/jobs\?/);
});

test("what is no day is none", () => {
  expect(startOf("2026-11-23")).toBe(Date.UTC(2026, 10, 23));
  for (const text of ["", "yesterday", "2026-13-45", "2026-11-23T00:00"])
    expect(startOf(text)).toBeNaN();
});

test("changes in words", () => {
  expect(change(112, 100)).toBe("+12 %");
  expect(change(50, 100)).toBe("−50 %");
  expect(change(100, 100)).toBe("as before");
  expect(change(5, 0)).toBeNull();
  expect(change(5000, 100)).toBe("×50");
  expect(points(0.9, 0.87)).toBe("+3 points");
  expect(points(0.86, 0.87)).toBe("−1 point");
  expect(points(null, 0.5)).toBeNull();
});

test("a year is shown by months, a month by days", () => {
  expect(goodStep("2026-11-01", "2026-11-30")).toBe("day");
  expect(goodStep("2026-08-01", "2026-11-30")).toBe("week");
  expect(goodStep("2025-11-24", "2026-11-23")).toBe("month");
  expect(barName("2026-11-01", "month")).toBe("Nov 2026");
});

test("reasons have words and lead to their jobs", () => {
  expect(reasonOf({ status: "error", code: 3 })).toMatchObject({
    words: "over its time limit",
    sought: { status: "error", error: 3 },
  });
  expect(reasonOf({ status: "terminated", code: 1 }).sought).toMatchObject({ ended_by: "admin" });
  expect(reasonOf({ status: "error", code: 99 }).sought.error).toBeNull();
  expect(reasonOf({ status: "terminated", code: null }).words).toBe("cancelled");
});

test("methods are sorted by any column; what is not known stands last", () => {
  const apps = [
    { app: "b", runs: 2, run_p50_ms: null },
    { app: "a", runs: 5, run_p50_ms: 7 },
    { app: "c", runs: 3, run_p50_ms: 9 },
  ] as unknown as Parameters<typeof useSorted>[0];
  const names = (text: string | null) =>
    renderHook(() => useSorted(apps, sortOf(text))).result.current.map(({ app }) => app);
  expect(names(null)).toEqual(["a", "c", "b"]);
  expect(names("app")).toEqual(["a", "b", "c"]);
  expect(names("-run_p50_ms")).toEqual(["c", "a", "b"]);
  expect(names("run_p50_ms")).toEqual(["a", "c", "b"]);
  expect(names("-constructor")).toEqual(["a", "c", "b"]);
});
