import { describe, expect, test } from "vitest";

import { of256, ofRgb, pieces, plain } from "../src/lib/ansi";

const E = "\x1b";

describe("colours and styles", () => {
  test("a colour begins and ends", () => {
    expect(pieces(`a ${E}[31mred${E}[0m b`)).toEqual([
      { text: "a " },
      { text: "red", ink: "failed" },
      { text: " b" },
    ]);
  });

  test("several at once, and an empty one is a reset", () => {
    expect(pieces(`${E}[1;4;32mx${E}[my`)).toEqual([
      { text: "x", bold: true, underline: true, ink: "success" },
      { text: "y" },
    ]);
  });

  test.each([
    ["22", "1;2"],
    ["23", "3"],
    ["24", "4"],
    ["29", "9"],
    ["39", "34"],
    ["49", "44"],
  ])("%s takes %s away", (off, on) => {
    expect(pieces(`${E}[${on}m${E}[${off}mx`)).toEqual([{ text: "x" }]);
  });

  test("black and white are the text's own colour, bright black is muted", () => {
    for (const code of ["30", "37", "97", "38;5;0", "38;5;15", "38;2;255;255;255", "38;2;0;0;0"])
      expect(pieces(`${E}[${code}mx`)[0]?.ink).toBe("plain");
    for (const code of ["90", "38;5;8", "38;5;244", "38;2;128;128;128"])
      expect(pieces(`${E}[${code}mx`)[0]?.ink).toBe("muted");
  });

  test("grounds, bright ones too, and reversed ones", () => {
    expect(pieces(`${E}[41mx`)[0]?.ground).toBe("failed");
    expect(pieces(`${E}[102mx`)[0]?.ground).toBe("success");
    expect(pieces(`${E}[31;7mx`)[0]).toMatchObject({ ink: "plain", ground: "failed" });
  });

  test("256 colours and RGB, with semicolons or colons", () => {
    for (const code of ["38;5;196", "38:5:196", "38;2;255;0;0", "38:2:255:0:0", "38:2::255:0:0"])
      expect(pieces(`${E}[${code}mx`)).toEqual([{ text: "x", ink: "failed" }]);
    expect(pieces(`${E}[38;5;196;1mx`)).toEqual([{ text: "x", ink: "failed", bold: true }]);
    expect(of256(21)).toBe("brand");
    expect(of256(226)).toBe("warning");
    expect(of256(250)).toBe("plain");
    expect(ofRgb(0, 200, 40)).toBe("success");
    expect(ofRgb(0, 200, 200)).toBe("running");
    expect(ofRgb(200, 0, 220)).toBe("deferred");
  });

  test("half a colour changes nothing and eats nothing", () => {
    expect(pieces(`${E}[38mx`)).toEqual([{ text: "x" }]);
    expect(pieces(`${E}[38;5mx`)[0]?.text).toBe("x");
    expect(pieces(`${E}[999;31mx`)).toEqual([{ text: "x", ink: "failed" }]);
    expect(pieces(`${E}[4:3mx`)).toEqual([{ text: "x", underline: true }]);
  });
});

describe("what is taken out", () => {
  test.each([
    ["cursor and clearing", `${E}[2J${E}[H${E}[?25lseen${E}[K${E}[10;20H`, "seen"],
    ["a title", `${E}]0;a title\x07seen`, "seen"],
    ["a title with ST", `${E}]0;a title${E}\\seen`, "seen"],
    ["a link", `${E}]8;;javascript:alert(1)\x07click${E}]8;;\x07 me`, "click me"],
    ["C1 controls", "\x9b31mred\x9d0;title\x9cseen\x85", "redseen"],
    ["DCS, APC, PM, SOS", `${E}Pq#0${E}\\a${E}_x${E}\\b${E}^y${E}\\c${E}Xz${E}\\d`, "abcd"],
    ["character sets", `${E}(Ba${E}#8b${E}=c${E}7d`, "abcd"],
    ["single controls", "a\x00b\x07c\x08d\x0be\x7ff", "abcdef"],
    ["an escape at the end", `a${E}`, "a"],
    ["a sequence cut off", `a${E}[31`, "a"],
    ["a string without an end", `a${E}]0;never ends`, "a"],
    ["a string that another sequence ends", `a${E}]0;t${E}[31mb`, "ab"],
    ["private SGR", `${E}[>4;1mseen${E}[?1m`, "seen"],
    ["a newline in a line", "a\nb", "ab"],
  ])("%s", (_, text, shown) => {
    expect(plain(text)).toBe(shown);
  });

  test("tabs, blanks and every script of the world stay", () => {
    for (const text of ["a\tb", "   x ", "日本語 🧬 e\u0301", "\u202etxt\u202c", "zero\u200bwidth"])
      expect(plain(text)).toBe(text);
  });

  test("a return at the ends is nothing; between texts both texts stay", () => {
    expect(plain("\r10 %\r")).toBe("10 %");
    expect(plain("10 %\r20 %")).toBe("10 %␍20 %");
  });

  test("markup is text", () => {
    const text = `<script>alert(1)</script><img src=x onerror="x">&lt;`;
    expect(pieces(text)).toEqual([{ text }]);
  });

  test("no letter that steers a terminal is left of any mixture", () => {
    const parts = [E, "[", "]", "31", ";", "m", "\x07", "\\", "\x9b", "P", "x", "\x00", "\r", "?"];
    let seed = 7;
    for (let round = 0; round < 3000; round += 1) {
      let text = "";
      for (let n = 0; n < 14; n += 1) {
        seed = (seed * 48271) % 2147483647;
        text += parts[seed % parts.length] ?? "";
      }
      const codes = [...plain(text)].map((one) => one.charCodeAt(0));
      expect(codes.every((code) => (code >= 0x20 && code < 0x7f) || code > 0x9f)).toBe(true);
    }
  });

  test("a megabyte of bad sequences takes no time", () => {
    const begin = performance.now();
    for (const one of [`${E}[`, `${E}]`, `${E}[31;`, `${E}[1m`, "\x9b", `${E}[${";".repeat(999)}m`])
      pieces(one.repeat(Math.floor(1_000_000 / one.length)));
    pieces(`${E}[${"1;".repeat(500_000)}m`);
    expect(performance.now() - begin).toBeLessThan(3000);
  });
});

describe("marks", () => {
  test("cut through colours", () => {
    const text = `ab${E}[31mcd${E}[0mef`;
    expect(pieces(text, [[1, 8]])).toEqual([
      { text: "a" },
      { text: "b", marked: true },
      { text: "c", ink: "failed", marked: true },
      { text: "d", ink: "failed" },
      { text: "ef" },
    ]);
  });

  test("several in a piece; marks outside the text do no harm", () => {
    const marks: [number, number][] = [[0, 1], [2, 3], [9, 12]]; // prettier-ignore
    expect(pieces("abcd", marks).map((one) => [one.text, one.marked ?? false])).toEqual([
      ["a", true],
      ["b", false],
      ["c", true],
      ["d", false],
    ]);
  });
});
