/** State lights in words. */

export interface Light {
  word: string;
  /** A colour family of the host. */
  colour: string;
  /** The higher, the worse. */
  rank: number;
}

const UNKNOWN: Light = { word: "Not known", colour: "none", rank: 1 };

const LIGHTS: Record<string, Light> = {
  ok: { word: "Working", colour: "success", rank: 0 },
  unknown: UNKNOWN,
  warning: { word: "Limited", colour: "warning", rank: 2 },
  bad: { word: "Not working", colour: "failed", rank: 3 },
};

const PARTS: Record<string, string> = {
  submission: "Submission",
  scheduler: "Scheduler",
  workers: "Workers",
  storage: "Storage",
  log: "Logs",
  client_groups: "Client groups",
  outbox: "Other services",
};

/** How a light is shown. */
export function light(name: string): Light {
  return Object.hasOwn(LIGHTS, name) ? (LIGHTS[name] ?? UNKNOWN) : UNKNOWN;
}

/** A part's name for people. */
export function partName(part: string): string {
  return Object.hasOwn(PARTS, part) ? (PARTS[part] ?? part) : part;
}

/** All parts in one sentence, the worst first: "All parts work." */
export function summary(parts: readonly { part: string; light: string }[]): {
  text: string;
  colour: string;
} {
  const bad = parts.filter((one) => light(one.light).rank === 3);
  const limited = parts.filter((one) => light(one.light).rank === 2);
  const unknown = parts.filter((one) => light(one.light).rank === 1);
  const names = (some: typeof bad) => some.map(({ part }) => partName(part)).join(", ");
  if (bad.length) return { text: `Not working: ${names(bad)}.`, colour: "failed" };
  if (limited.length)
    return { text: `Working, with limits: ${names(limited)}.`, colour: "warning" };
  if (unknown.length || !parts.length)
    return {
      text: unknown.length ? `Not known: ${names(unknown)}.` : "Not known.",
      colour: "none",
    };
  return { text: "All parts work.", colour: "success" };
}

/** Whole half days between two times of a zone's clock are no use in a chart: days are. The
 * midnights (of a zone given by its offset function) that lie within a span. */
export function midnights(from: number, to: number, dayOf: (at: number) => string): number[] {
  const found: number[] = [];
  const hour = 3_600_000;
  let before = dayOf(from);
  for (let at = Math.ceil(from / hour) * hour; at <= to; at += hour) {
    const day = dayOf(at);
    if (day !== before) found.push(at);
    before = day;
  }
  return found;
}
