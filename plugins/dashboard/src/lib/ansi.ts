/** Terminal text: colours and bold are kept, as names of the theme's colours; all else that steers a
 * terminal (cursor, titles, links, sounds) is taken out. Nothing here makes markup: the answer is
 * text with properties. Sources: ECMA-48 for the shape of the sequences and of SGR. */

/** A colour family of the theme, "muted" or "plain" (the text's own colour). */
export type Ink =
  "failed" | "success" | "warning" | "brand" | "deferred" | "running" | "muted" | "plain";

export interface Look {
  ink?: Ink;
  /** The ground behind the text. */
  ground?: Ink;
  bold?: boolean;
  faint?: boolean;
  italic?: boolean;
  underline?: boolean;
  strike?: boolean;
}

export interface Piece extends Look {
  text: string;
  /** Within a mark (a match of a search). */
  marked?: boolean;
}

/** Start and end of a mark in the text as it came, in UTF-16 units. */
export type Mark = readonly [number, number];

// Black and white are the text's own colour: either would vanish in one of the two themes.
const BASIC: readonly Ink[] = [
  "plain",
  "failed",
  "success",
  "warning",
  "brand",
  "deferred",
  "running",
  "plain",
];

const TAB = 0x09;
const CARRIAGE_RETURN = 0x0d;
const ESC = 0x1b;
const DEL = 0x7f;
const CSI = 0x9b;
const ST = 0x9c;
const BEL = 0x07;

function isControl(code: number): boolean {
  return (code < 0x20 && code !== TAB) || (code >= DEL && code <= 0x9f);
}

/** The kind of sequence that begins with a letter after ESC, or with a C1 control of its own. */
function opens(letter: number): "csi" | "string" | "other" {
  if (letter === 0x5b) return "csi"; // [
  // ] P X ^ _ : OSC, DCS, SOS, PM, APC
  if ([0x5d, 0x50, 0x58, 0x5e, 0x5f].includes(letter)) return "string";
  return "other";
}

interface Control {
  /** Where the text goes on. */
  end: number;
  /** The parameters, if it is a Select Graphic Rendition. */
  sgr?: string;
}

/** Reads the control that begins at `at`. Each letter is looked at once: linear in the text. */
function control(text: string, at: number): Control {
  let code = text.charCodeAt(at);
  let next = at + 1;
  if (code === ESC) {
    if (next >= text.length) return { end: next };
    // ESC and a letter of 0x40–0x5f is the C1 control 0x40 higher.
    code = text.charCodeAt(next);
    const kind = opens(code);
    if (kind === "csi") return csi(text, next + 1);
    if (kind === "string") return { end: stringEnd(text, next + 1) };
    while (next < text.length && inRange(text, next, 0x20, 0x2f)) next += 1;
    return { end: inRange(text, next, 0x30, 0x7e) ? next + 1 : next };
  }
  if (code === CSI) return csi(text, next);
  if (code > DEL && opens(code - 0x40) === "string") return { end: stringEnd(text, next) };
  return { end: next };
}

function inRange(text: string, at: number, low: number, high: number): boolean {
  const code = text.charCodeAt(at); // NaN behind the end: in no range
  return code >= low && code <= high;
}

function csi(text: string, start: number): Control {
  let at = start;
  while (inRange(text, at, 0x30, 0x3f)) at += 1;
  const parameters = text.slice(start, at);
  const plain = !inRange(text, at, 0x20, 0x2f);
  while (inRange(text, at, 0x20, 0x2f)) at += 1;
  if (!inRange(text, at, 0x40, 0x7e)) return { end: at }; // broken off: what follows is text
  const isSgr = plain && text[at] === "m" && /^[0-9;:]*$/.test(parameters);
  return isSgr ? { end: at + 1, sgr: parameters } : { end: at + 1 };
}

/** Behind a string's BEL or ST; one without an end goes to the end of the line, as in terminals. */
function stringEnd(text: string, start: number): number {
  for (let at = start; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === BEL || code === ST) return at + 1;
    if (code === ESC) return text[at + 1] === "\\" ? at + 2 : at; // another one begins
  }
  return text.length;
}

const MAX_PARAMETERS = 64; // more than any program sends; the rest is not looked at

/** The look after an SGR, from the look before it. */
function rendition(before: Look, parameters: string): Look {
  let look = { ...before };
  // A colour's parts may stand after colons in one parameter; a tint's kind (4:3) does not matter.
  const codes = parameters
    .split(";", MAX_PARAMETERS)
    .flatMap((one) => (/^[345]8:/.test(one) ? withoutSpace(one.split(":")) : [one.split(":")[0]]))
    .map((one) => Number(one || "0"));
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at] ?? 0;
    if (code === 0) look = {};
    else if (code === 1) look.bold = true;
    else if (code === 2) look.faint = true;
    else if (code === 3) look.italic = true;
    else if (code === 4 || code === 21) look.underline = true;
    else if (code === 7)
      look = { ...look, ink: look.ground ?? "plain", ground: look.ink ?? "muted" };
    else if (code === 9) look.strike = true;
    else if (code === 22) look.bold = look.faint = undefined;
    else if (code === 23) look.italic = undefined;
    else if (code === 24) look.underline = undefined;
    else if (code === 27) look = { ...look, ink: look.ground, ground: undefined };
    else if (code === 29) look.strike = undefined;
    else if (code >= 30 && code <= 37) look.ink = BASIC[code - 30];
    else if (code === 39) look.ink = undefined;
    else if (code >= 40 && code <= 47) look.ground = BASIC[code - 40];
    else if (code === 49) look.ground = undefined;
    else if (code === 90) look.ink = "muted";
    else if (code > 90 && code <= 97) look.ink = BASIC[code - 90];
    else if (code === 100) look.ground = "muted";
    else if (code > 100 && code <= 107) look.ground = BASIC[code - 100];
    else if (code === 38 || code === 48 || code === 58) {
      const [ink, used] = extended(codes.slice(at + 1, at + 5));
      at += used;
      if (ink && code === 38) look.ink = ink;
      if (ink && code === 48) look.ground = ink;
    }
  }
  return look;
}

/** 38:2::r:g:b names a colour space (mostly empty) before the colour; 38:2:r:g:b does not. */
function withoutSpace(parts: string[]): string[] {
  return parts[1] === "2" && parts.length >= 6 ? [...parts.slice(0, 2), ...parts.slice(3)] : parts;
}

/** The ink of 5;n or 2;r;g;b, and how many parameters that took. */
function extended(codes: readonly number[]): [Ink | null, number] {
  const [kind, a = 0, b = 0, c = 0] = codes;
  if (kind === 5) return [of256(a), 2];
  if (kind === 2) return [ofRgb(a, b, c), 4];
  return [null, kind === undefined ? 0 : 1];
}

/** The ink nearest to a colour of the table of 256. */
export function of256(index: number): Ink {
  if (index === 8) return "muted";
  if (index < 16) return BASIC[index % 8] ?? "plain";
  if (index >= 232) return grey((index - 232) * 10 + 8);
  const level = (step: number) => (step ? step * 40 + 55 : 0);
  const cube = index - 16;
  return ofRgb(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
}

function grey(light: number): Ink {
  return light >= 80 && light <= 175 ? "muted" : "plain";
}

/** The ink nearest in hue: the theme gives it the lightness that can be read. */
export function ofRgb(red: number, green: number, blue: number): Ink {
  const high = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  if (high - low < 32) return grey((high + low) / 2);
  const span = high - low;
  const hue =
    high === red
      ? ((green - blue) / span + 6) % 6
      : high === green
        ? (blue - red) / span + 2
        : (red - green) / span + 4;
  if (hue < 0.4 || hue >= 5.5) return "failed";
  if (hue < 1.25) return "warning";
  if (hue < 2.6) return "success";
  if (hue < 3.4) return "running";
  if (hue < 4.4) return "brand";
  return "deferred";
}

/** The pieces of a line. marks: where to mark it, in order, as places in `text`. */
export function pieces(text: string, marks: readonly Mark[] = []): Piece[] {
  const found: Piece[] = [];
  let look: Look = {};
  let shown = false;
  let at = 0;
  while (at < text.length) {
    let end = at;
    while (end < text.length && !isControl(text.charCodeAt(end))) end += 1;
    if (end > at) {
      add(found, text, at, end, look, marks);
      shown = true;
    }
    if (end >= text.length) break;
    const one = control(text, end);
    if (one.sgr !== undefined) look = rendition(look, one.sgr);
    // A terminal would write over what stands before it. Here both stay, with a sign between them.
    if (text.charCodeAt(end) === CARRIAGE_RETURN && shown && hasText(text, one.end))
      found.push({ text: "␍", ink: "muted" });
    at = one.end;
  }
  return found;
}

function hasText(text: string, from: number): boolean {
  return from < text.length && text.charCodeAt(from) !== CARRIAGE_RETURN;
}

function add(
  found: Piece[],
  text: string,
  start: number,
  end: number,
  look: Look,
  marks: readonly Mark[],
): void {
  let at = start;
  for (const [from, to] of marks) {
    if (to <= at || from >= end) continue;
    if (from > at) found.push({ ...look, text: text.slice(at, from) });
    const stop = Math.min(to, end);
    found.push({ ...look, text: text.slice(Math.max(from, at), stop), marked: true });
    at = stop;
  }
  if (at < end) found.push({ ...look, text: text.slice(at, end) });
}

/** The text as people see it: without anything that steers a terminal. */
export function plain(text: string): string {
  return pieces(text)
    .map((piece) => piece.text)
    .join("");
}
