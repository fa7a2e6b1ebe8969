import { describe, expect, test } from "vitest";

import { artifactHref, safeHref } from "../src/lib/href";
import { calledBy, flatten, isRef, shown, unwrapped } from "../src/lib/params";
import { phases, rankWords } from "../src/lib/timeline";

describe("addresses from outside", () => {
  test("only http(s) and paths of this host", () => {
    expect(safeHref("https://narrative.kbase.us/narrative/1")).toBe(
      "https://narrative.kbase.us/narrative/1",
    );
    expect(safeHref("/services/ee2/artifacts/x")).toBe("/services/ee2/artifacts/x");
    for (const bad of [
      "javascript:alert(1)",
      " javascript:alert(1)",
      "JaVaScRiPt:alert(1)",
      "data:text/html,x",
      "//evil.example.org",
      "/\\evil.example.org",
      "vbscript:x",
      "relative",
      "",
      null,
      undefined,
    ])
      expect(safeHref(bad)).toBeNull();
  });

  test("files below the API of this home", () => {
    const href = "/services/ee2/artifacts/a/b/report.html?frame=1";
    expect(artifactHref("/services/ee2/dashboard/api/v1", href)).toBe(
      "/services/ee2/dashboard/artifacts/a/b/report.html?frame=1",
    );
    expect(artifactHref("/af/services/ee2/api/v1", href)).toBe(
      "/af/services/ee2/artifacts/a/b/report.html?frame=1",
    );
    expect(artifactHref("/x", "javascript:alert(1)")).toBeNull();
    expect(artifactHref("/x", null)).toBeNull();
  });
});

describe("parameters as rows", () => {
  test("ways and values, in order", () => {
    const { rows, more } = flatten(unwrapped([{ reads: ["1/2/3"], k: 31, opts: {}, none: [] }]));
    expect(more).toBe(false);
    expect(rows.map((row) => [row.path, shown(row)])).toEqual([
      ["reads[0]", "1/2/3"],
      ["k", "31"],
      ["opts", "nothing in it"],
      ["none", "empty list"],
    ]);
  });

  test("what people call them, by the first word of the way", () => {
    const names = { reads: "Sequencing reads" };
    expect(calledBy("reads[0].name", names)).toEqual(["Sequencing reads", "[0].name"]);
    expect(calledBy("reads", names)).toEqual(["Sequencing reads", ""]);
    expect(calledBy("k", names)[0]).toBeUndefined();
    expect(calledBy("constructor", names)[0]).toBeUndefined();
  });

  test("hostile names and depths do no harm", () => {
    const hostile: unknown = JSON.parse('{"__proto__":{"polluted":true},"constructor":"x"}');
    expect(flatten(hostile).rows.map((row) => row.path)).toEqual([
      "__proto__.polluted",
      "constructor",
    ]);
    let deep: unknown = "end";
    for (let n = 0; n < 5000; n += 1) deep = [deep];
    expect(flatten(deep).rows).toHaveLength(1);
    const many = flatten(Array.from({ length: 5000 }, (_, n) => n));
    expect(many.rows).toHaveLength(1000);
    expect(many.more).toBe(true);
  });

  test("what looks like an object's address", () => {
    for (const ref of ["48213/5/1", "48213/5"]) expect(isRef(ref)).toBe(true);
    for (const other of ["48213", "a/b/c", "1/2/3/4", "1/2/", 5, null])
      expect(isRef(other)).toBe(false);
  });
});

describe("the bar of times", () => {
  test("a job that has ended", () => {
    const times = { created: 0, queued: 10, running: 30, finished: 100 };
    expect(phases(times, 500)).toEqual([
      { state: "created", from: 0, to: 10, open: false },
      { state: "queued", from: 10, to: 30, open: false },
      { state: "running", from: 30, to: 100, open: false },
    ]);
  });

  test("one that goes on, one cancelled while it waited, one with a clock behind", () => {
    expect(phases({ created: 0, queued: 10, running: null, finished: null }, 60).at(-1)).toEqual({
      state: "queued",
      from: 10,
      to: 60,
      open: true,
    });
    expect(phases({ created: 0, queued: 10, running: null, finished: 40 }, 60).at(-1)).toEqual({
      state: "queued",
      from: 10,
      to: 40,
      open: false,
    });
    expect(phases({ created: 100, queued: null, running: null, finished: null }, 60)[0]?.to).toBe(
      100,
    );
  });

  test("ranks in words", () => {
    expect(rankWords(0.82, 200)).toBe("longer than 82 % of the last 200 runs");
    expect(rankWords(0.1, 200)).toBe("shorter than 90 % of the last 200 runs");
    expect(rankWords(0.5, 200)).toBe("about the middle of the last 200 runs");
    expect(rankWords(0.995, 200)).toBe("longer than 99 % of the last 200 runs");
    expect(rankWords(0, 200)).toBe("the shortest of the last 200 runs");
    expect(rankWords(1, 200)).toBe("the longest of the last 200 runs");
    expect(rankWords(0.9, 3)).toBeNull();
    expect(rankWords(null, 200)).toBeNull();
  });
});
