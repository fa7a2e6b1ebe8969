import { describe, expect, test } from "vitest";

import { fromServer, toServer } from "../src/app/kept";
import { decimal, fieldOf, whole } from "../src/lib/fields";
import { actChoices, actWords, auditFilter, isJobId, outcome } from "../src/pages/admin/audit";
import {
  applying,
  hoursOf,
  inOrder,
  limitWords,
  precedence,
  runTime,
  secondsOf,
  type Rule,
  type UserRow,
} from "../src/pages/admin/limits";
import {
  claimedShare,
  concerns,
  failed,
  fullness,
  jobsAt,
  pieces,
  reasonWords,
  type Overview,
} from "../src/pages/admin/overview";
import { addressOf, pageName } from "../src/pages/settings/pages";
import { draftOf, switched, wishesOf, wrongField } from "../src/pages/settings/wishes";
import { atOf } from "../src/pages/settings/zones";
import { light, midnights, summary } from "../src/pages/status/lights";
import { points } from "../src/pages/status/WeekChart";

describe("fields", () => {
  test.each([
    ["places must be a whole number from 0 to 1,000,000", "places"],
    ["expires: 2020-02-01 is over already", "expires"],
    ["body.places: Input should be a valid integer", "places"],
    ["Somebody was faster", null],
    ["The places are full", null],
  ])("%s", (message, field) => expect(fieldOf(message, ["places", "expires"])).toBe(field));

  test("numbers as typed", () => {
    expect([whole(""), whole(" 12 "), whole("-3"), whole("1.5"), whole("x")]).toEqual([
      null,
      12,
      -3,
      NaN,
      NaN,
    ]);
    expect([decimal("1,5"), decimal("0.25"), decimal("1e9"), decimal("")]).toEqual([
      1.5,
      0.25,
      NaN,
      null,
    ]);
  });
});

const amounts = { total: 100, claimed: 40, used: 55, free: 40, drained: 20 };

describe("overview", () => {
  test("a bar's pieces add up, also where more is used than claimed", () => {
    const sum = pieces(amounts).reduce((all, { amount }) => all + amount, 0);
    expect(sum).toBe(100);
    expect(pieces(amounts)[0]).toEqual({ name: "used", amount: 40 });
    expect(claimedShare(amounts)).toBe(0.5);
    expect(claimedShare({ ...amounts, total: 20 })).toBe(0);
  });

  test.each([
    [0, 0],
    [1, 1],
    [16, 1],
    [17, 2],
    [64, 4],
    [80, 4],
  ])("%s of 64 cores is level %s", (cpus_claimed, level) =>
    expect(fullness({ cpus: 64, cpus_claimed })).toBe(level),
  );

  const calm: Overview = {
    as_of: null,
    calls: [],
    capacity: [],
    failures: [],
    largest_users: [],
    longest_running: [],
    longest_waiting: [],
    nodes: [],
    note: null,
    silent: [],
    waiting: [{ code: "limit", count: 9, groups: { njs: 9 }, example: "" }],
  };

  test("what passes by itself needs nobody", () => {
    expect(concerns(calm, { paused: null, drained: {} })).toEqual([]);
  });

  test("the gravest comes first", () => {
    const waiting = [{ code: "no_machines", count: 2, groups: { a: 2 }, example: "" }];
    const found = concerns(
      { ...calm, waiting },
      {
        paused: { by: "root", at: 1, reason: null },
        drained: { a: { by: "root", at: 1, reason: null } },
      },
    );
    expect(found.map(({ key }) => key)).toEqual(["paused", "stuck no_machines", "drained a"]);
  });

  test("words for what is unknown", () => {
    expect(reasonWords("constructor")).toBe("constructor");
    expect(reasonWords(null)).toBe("–");
    expect(failed(0, 0)).toBe("none ended");
    expect(failed(40, 12)).toBe("12 of 40 (30 %)");
    expect(jobsAt({ user: "a&b", node: null })).toBe("/admin/jobs?user=a%26b");
  });
});

describe("limits", () => {
  const user = (name: string, held_back: number, running = 0): UserRow => ({
    user: name,
    own: null,
    limit: 5,
    running,
    waiting: held_back,
    held_back,
  });
  test("who is held back comes first", () => {
    const rows = [user("a", 0, 3), user("b", 7), user("c", 0, 9)];
    expect(inOrder(rows).map((row) => row.user)).toEqual(["b", "c", "a"]);
  });

  const rule = (app: string, name: string): Rule => ({
    app,
    user: name,
    seconds: 60,
    by_owner: false,
    words: "",
    set_by: "root",
    set_at: 0,
    revision: 1,
  });
  test("the most specific rule counts", () => {
    const rules = [rule("*", "*"), rule("*", "ana"), rule("m.f", "*"), rule("m.f", "ana")];
    expect(applying(rules, "ana", "m.f").map(precedence)).toEqual([1, 2, 3, 4]);
    expect(applying(rules, "ben", "m.g").map(precedence)).toEqual([4]);
  });

  test("numbers in words", () => {
    expect(limitWords(0)).toBe("0: may not start jobs");
    expect(limitWords(null)).toBe("no limit");
    expect(runTime(172800)).toBe("48 h");
    expect(runTime(5400)).toBe("1 h 30 m");
    expect(secondsOf(Number(hoursOf(100)))).toBe(100);
  });
});

describe("audit", () => {
  test("acts in words", () => {
    expect(actWords("set_user_limit")).toBe("Set a user’s limit");
    expect(actWords("execution_engine2.cancel_job")).toBe("Cancelled job");
    expect(actWords("rest.actions.retry")).toBe("Retried many jobs");
    expect(actWords("toString")).toBe("ToString");
    expect(outcome("odd")).toEqual({ word: "odd", colour: "none" });
    expect(actChoices("odd")).toContain("odd");
    expect(isJobId("66f2a1b3c4d5e6f708192a3b")).toBe(true);
    expect(isJobId("user ana")).toBe(false);
  });

  test("the address's words are the API's", () => {
    const search = new URLSearchParams("actor=root&target=user+ana&what=&odd=1&from=2026-01-01");
    expect(auditFilter(search)).toEqual({ who: "root", target: "user ana", from: "2026-01-01" });
  });
});

describe("settings", () => {
  const wishes = {
    events: { failure: ["email"] },
    email: "ana@example.org",
    shared: false,
    quiet_s: 90,
    long_wait_s: 5400,
    long_run_s: 86400,
  };
  test("to the form and back", () => {
    expect(wishesOf(draftOf(wishes))).toEqual({ ...wishes, slack: null, webhook: null });
    expect(wishesOf({ ...draftOf(wishes), longRun: "soon" })).toBeNull();
  });

  test("channels are switched", () => {
    const on = switched(draftOf(wishes), "end", "page", true);
    expect(on.events).toEqual({ failure: ["email"], end: ["page"] });
    expect(wishesOf(switched(on, "failure", "email", false))?.events).toEqual({ end: ["page"] });
  });

  test.each([
    ["email must be one e-mail address", "email"],
    ["events.failure names the channel slack, and slack is not set", "slack"],
    ["webhook: the path must not have ..", "webhook"],
    ["long_wait_s: Input should be greater than or equal to 60", "long_wait_s"],
    ["This service does not send by slack", null],
  ])("%s", (message, field) => expect(wrongField(message)).toBe(field));

  test("times are those of the zone", () => {
    expect(atOf("2026-07-01T12:00", "Europe/Berlin")).toBe(Date.UTC(2026, 6, 1, 10));
    expect(atOf("2026-12-01T12:00", "Asia/Kolkata")).toBe(Date.UTC(2026, 11, 1, 6, 30));
    // The clocks go forward at 2:00 and back at 3:00.
    expect(atOf("2026-10-25T02:30", "Europe/Berlin")).toBe(Date.UTC(2026, 9, 25, 0, 30));
    expect(Number.isFinite(atOf("2026-03-29T02:30", "Europe/Berlin"))).toBe(true);
    expect(atOf("soon", "UTC")).toBeNaN();
  });

  test("zones of this browser only are not kept for others", () => {
    expect(toServer({ zone: "host", density: "normal" }, undefined).time_zone).toBeNull();
    const kept = toServer({ zone: "UTC", density: "compact" }, undefined);
    expect(fromServer(kept)).toEqual({ zone: "UTC", density: "compact" });
    expect(fromServer({ density: "comfortable", theme: "system" })).toEqual({ density: "normal" });
  });

  test("filters lead to their pages", () => {
    expect(addressOf({ page: "history", query: "status=error" })).toBe(
      "/jobs/history?status=error",
    );
    expect(addressOf({ page: "constructor", query: "" })).toBe("/jobs/history");
    expect(pageName("admin")).toBe("All jobs");
  });
});

describe("status", () => {
  test("the worst part is said first", () => {
    const part = (name: string, how: string) => ({ part: name, light: how });
    expect(summary([part("log", "ok")]).text).toBe("All parts work.");
    expect(summary([part("log", "warning"), part("storage", "bad")]).text).toBe(
      "Not working: Storage.",
    );
    expect(summary([]).text).toBe("Not known.");
    expect(light("constructor").word).toBe("Not known");
  });

  test("the chart is interrupted where nothing was measured", () => {
    const half = 1_800_000;
    const found = points([
      [0, 1, 2, 3],
      [half, 1, 2, 3],
      [9 * half, 4, 5, 6],
    ]);
    expect(found.map(({ running }) => running)).toEqual([2, 2, null, 5]);
  });

  test("days begin at midnight of the zone", () => {
    const day = (at: number) => new Date(at).toISOString().slice(0, 10);
    const from = Date.UTC(2026, 0, 1, 13);
    expect(midnights(from, from + 2 * 86_400_000, day)).toEqual([
      Date.UTC(2026, 0, 2),
      Date.UTC(2026, 0, 3),
    ]);
  });
});
