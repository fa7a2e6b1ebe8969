/** The filter words that all lists share, in the address of the page and of the API. */

export const WORDS = [
  "status",
  "app",
  "module",
  "user",
  "ws",
  "group",
  "node",
  "batch",
  "error",
  "ended_by",
  "from",
  "to",
  "min_wait",
  "min_run",
  "q",
  "star",
  "label",
  "runs",
] as const;

export type Word = (typeof WORDS)[number];
export type Words = Partial<Record<Word, string>>;

/** The filter words of an address; empty ones and words that are none are left out. */
export function wordsOf(search: URLSearchParams): Words {
  const found: Words = {};
  for (const word of WORDS) {
    const value = search.getAll(word).join(",").trim();
    if (value) found[word] = value;
  }
  return found;
}

/** An address with some words set, changed or (null) taken out; all else in it is kept. */
export function withWords(
  search: URLSearchParams,
  changes: Partial<Record<string, string | null>>,
): URLSearchParams {
  const next = new URLSearchParams(search);
  for (const [word, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") next.delete(word);
    else next.set(word, value);
  }
  return next;
}

/** Name–value pairs as a query string with its "?", or nothing; null and "" are left out. */
export function query(
  values: Record<string, string | number | boolean | null | undefined>,
): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(values))
    if (value !== null && value !== undefined && value !== "" && value !== false)
      said.set(name, String(value));
  const text = said.toString();
  return text ? `?${text}` : "";
}
