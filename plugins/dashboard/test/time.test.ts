import { describe, expect, test } from "vitest";

import { duration, exactWithZone, expected, isZone, relative } from "../src/lib/time";

const S = 1000;
const M = 60 * S;
const H = 60 * M;
const D = 24 * H;

describe("durations", () => {
  test.each([
    [-5, "0 s"],
    [0, "0 s"],
    [820, "820 ms"],
    [12.9 * S, "12 s"],
    [4 * M + 5 * S, "4 m 05 s"],
    [H + 4 * M, "1 h 04 m"],
    [3 * D + 2 * H, "3 d 02 h"],
  ])("%s ms is %s", (ms, words) => expect(duration(ms)).toBe(words));
});

describe("relative times", () => {
  test.each([
    [0, "now"],
    [12 * S, "12 s ago"],
    [4 * M, "4 min ago"],
    [3 * H, "3 h ago"],
    [5 * D, "5 d ago"],
    [-4 * M, "in 4 min"],
  ])("%s ms before now is %s", (before, words) =>
    expect(relative(1e12 - before, 1e12)).toBe(words),
  );
});

test("a range is as wide as it is known", () => {
  expect(expected(4 * M, 9 * M, 0)).toBe("in 4–9 min");
  expect(expected(-10 * S, 2 * S, 0)).toBe("any moment");
  expect(expected(-10 * S, 40 * S, 0)).toBe("in 0–40 s");
});

test("exact times name their zone", () => {
  expect(exactWithZone(1727185950123, "UTC")).toBe("2024-09-24 13:52:30 UTC");
  expect(exactWithZone(1727185950123, "Europe/Berlin")).toMatch(
    /^2024-09-24 15:52:30 (CEST|GMT\+2)$/,
  );
});

test("zones", () => {
  expect(isZone("Europe/Berlin")).toBe(true);
  expect(isZone("Mars/Olympus")).toBe(false);
});
