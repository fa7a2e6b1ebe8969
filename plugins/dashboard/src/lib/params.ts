/** What went into a job or came out of it, as rows of a table. */

export type Plain = string | number | boolean | null;

export interface ParamRow {
  /** "[0].reads.name" */
  path: string;
  value: Plain;
  /** An empty list or object has no value of its own. */
  empty?: "list" | "object";
}

export const FOLD_LETTERS = 2000;
const MOST_ROWS = 1000;
const DEEPEST = 40;

/** The values of some JSON, each with the way to it, in order. more: how many are left out (at
 * least; what is left out is not counted to its end). */
export function flatten(value: unknown, most = MOST_ROWS): { rows: ParamRow[]; more: boolean } {
  const rows: ParamRow[] = [];
  let more = false;
  const walk = (at: unknown, path: string, depth: number): void => {
    if (rows.length >= most) {
      more = true;
      return;
    }
    if (at === null || typeof at !== "object") {
      rows.push({ path, value: at === undefined ? null : (at as Plain) });
    } else if (depth >= DEEPEST) {
      rows.push({ path, value: "… (deeper than 40 levels)" });
    } else if (Array.isArray(at)) {
      if (!at.length) rows.push({ path, value: null, empty: "list" });
      for (const [n, one] of at.entries()) {
        if (more) return;
        walk(one, `${path}[${n}]`, depth + 1);
      }
    } else {
      const entries = Object.entries(at);
      if (!entries.length) rows.push({ path, value: null, empty: "object" });
      for (const [name, one] of entries) {
        if (more) return;
        walk(one, path ? `${path}.${name}` : name, depth + 1);
      }
    }
  };
  walk(value, "", 0);
  return { rows, more };
}

/** What people call the value at a path ("reads[0].name") by the name of its first word, and the rest
 * of the path; undefined: it has no name. */
export function calledBy(
  path: string,
  names: Readonly<Record<string, string>>,
): [string | undefined, string] {
  const word = /^[^.[]*/.exec(path)?.[0] ?? "";
  const name = Object.hasOwn(names, word) ? names[word] : undefined;
  return [name, path.slice(word.length).replace(/^\./, "")];
}

/** Parameters of an app are one object in a list: then its "[0]." says nothing. */
export function unwrapped(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value;
}

/** Whether a text is the address of an object in the Workspace: "48213/5/1". */
export function isRef(value: Plain): value is string {
  return typeof value === "string" && /^\d{1,12}\/\d{1,12}(\/\d{1,9})?$/.test(value);
}

/** A value as text. */
export function shown(row: ParamRow): string {
  if (row.empty) return row.empty === "list" ? "empty list" : "nothing in it";
  if (row.value === null) return "null";
  if (row.value === "") return "empty text";
  return String(row.value);
}
