import { describe, expect, test } from "vitest";

import { progress, type ActionState } from "../src/pages/batch/follow";
import {
  bins,
  moved,
  paths,
  squares,
  stripPaths,
  strokes,
  unpacked,
} from "../src/pages/batch/grid";
import { ganttBars, liveCount, overall, type Stage } from "../src/pages/batch/words";

/** As the server packs them: three bits each, the first in the highest bits. */
function packed(codes: readonly number[]): string {
  let bits = codes.map((code) => code.toString(2).padStart(3, "0")).join("");
  bits = bits.padEnd(Math.ceil(bits.length / 24) * 24, "0");
  const bytes = bits.match(/.{8}/g) ?? [];
  return btoa(bytes.map((byte) => String.fromCharCode(parseInt(byte, 2))).join(""));
}

describe("the grid", () => {
  test.each([0, 1, 7, 8, 9, 500, 10_007])("of %i children is read as it was written", (count) => {
    const codes = Array.from({ length: count }, (_, at) => (at * 5 + (at >> 3)) % 8);
    expect([...unpacked(packed(codes), count)]).toEqual(codes);
  });

  test("whose text is too short shows what there is", () => {
    expect(unpacked("kgAA", 100)).toHaveLength(8);
    expect([...unpacked("kgAA", 3)]).toEqual([4, 4, 4]);
  });

  test("has a path for each state that there is, and marks what failed", () => {
    const form = squares(3, 100);
    const found = paths(Uint8Array.from([4, 5, 4]), form);
    expect([...found.keys()]).toEqual(["completed", "error"]);
    expect(found.get("completed")?.match(/M/g)).toHaveLength(2);
    expect(found.get("error")).toContain(`M${form.step} 0`);
    expect(strokes(Uint8Array.from([4, 5, 4]), form).match(/M/g)).toHaveLength(2);
    expect(paths(Uint8Array.from([7]), form).has("unknown")).toBe(true);
  });

  test("fits the width, be it as narrow as it will", () => {
    for (const width of [0, 5, 320, 1400])
      for (const count of [1, 100, 2000]) {
        const { columns, rows, step } = squares(count, width);
        expect(columns).toBeGreaterThanOrEqual(1);
        expect(columns * rows).toBeGreaterThanOrEqual(count);
        if (width > step) expect(columns * step).toBeLessThanOrEqual(width);
      }
  });

  test("moves by keys and stays within", () => {
    expect(moved("ArrowRight", 0, 10, 4)).toBe(1);
    expect(moved("ArrowDown", 8, 10, 4)).toBe(9);
    expect(moved("ArrowUp", 2, 10, 4)).toBe(0);
    expect(moved("End", 2, 10, 4)).toBe(9);
    expect(moved("x", 2, 10, 4)).toBeNull();
  });
});

describe("the strip", () => {
  const codes = new Uint8Array(10_000).fill(4);
  codes[5000] = 5;

  test("counts all children once", () => {
    const found = bins(codes, 250);
    expect(found).toHaveLength(250);
    expect(found.reduce((sum, bin) => sum + (bin.counts.completed ?? 0), 0)).toBe(9999);
    expect(found[125]).toEqual({ from: 5000, to: 5040, counts: { error: 1, completed: 39 } });
    expect(bins(codes.subarray(0, 3), 250)).toHaveLength(3);
  });

  test("lets a single failure be seen", () => {
    const height = /v([\d.]+)h/.exec(stripPaths(bins(codes, 250)).get("error") ?? "")?.[1];
    expect(Number(height)).toBeGreaterThanOrEqual(10);
  });
});

const stage = (name: string, status: string | null, more: Partial<Stage> = {}): Stage => ({
  stage: name,
  status,
  job_id: null,
  counts: status ? { [status]: 1 } : {},
  first_queued: null,
  first_running: null,
  last_finished: null,
  ...more,
});

test("what goes on says how a batch is, not its own record", () => {
  const batch = { end: null, status: "created", counts: { completed: 9 }, stages: [] };
  expect(overall({ ...batch, counts: { running: 1, queued: 3 } })).toBe("running");
  expect(overall({ ...batch, stages: [stage("aggregate", "queued")] })).toBe("queued");
  expect(overall({ ...batch, end: "error", counts: { error: 1 } })).toBe("error");
  expect(liveCount({ created: 1, estimating: 1, queued: 1, running: 1, error: 5 })).toBe(4);
});

test("bars of what goes on end at now, also after an end that a retry has passed", () => {
  const again = { first_queued: 10, first_running: 20, last_finished: 50 };
  const bars = ganttBars(
    {
      children: 2000,
      stages: [
        stage("split", "completed", { first_queued: 1, first_running: 2, last_finished: 5 }),
        stage("parts", "running", again),
        stage("aggregate", "created"),
      ],
    },
    100,
  );
  expect(bars.map(({ end, live }) => [end, live])).toEqual([
    [5, false],
    [100, true],
    [null, false],
  ]);
  expect(bars.map(({ name }) => name)).toEqual(["Split", "Parts (2,000)", "Aggregate"]);
});

test("an action says how far it is and what it could not do", () => {
  const state = {
    action: "retry",
    state: "running",
    total: 12,
    done: 5,
    skipped: { count: 0, items: [] },
    failed: { count: 0, items: [] },
  } as unknown as ActionState;
  expect(progress(state)).toMatchObject({ kind: "loading", title: "Retrying 12 jobs" });
  expect(progress({ ...state, state: "done", done: 12 })).toMatchObject({
    kind: "success",
    title: "12 jobs retried",
  });
  const failed = { count: 2, items: [{ id: "a", reason: "it is gone" }] };
  expect(progress({ ...state, state: "done", failed })).toMatchObject({
    kind: "warning",
    description: "2 could not be retried: it is gone",
  });
});
