/** The filter words as people set them. */

export interface Choice {
  value: string;
  label: string;
}

export interface FilterField {
  label: string;
  hint?: string;
  choices?: readonly Choice[];
}

/** What the error codes of the engine mean. */
const ERRORS: readonly Choice[] = [
  { value: "0", label: "unknown" },
  { value: "1", label: "the app failed" },
  { value: "2", label: "ended by an automation" },
  { value: "3", label: "over its time limit" },
  { value: "4", label: "no output" },
  { value: "5", label: "sign-in expired" },
  { value: "6", label: "not submitted" },
];

export const FIELDS = {
  app: { label: "App", hint: "module/app" },
  module: { label: "Module", hint: "kb_Bowtie2" },
  user: { label: "User", hint: "user name" },
  ws: { label: "Workspace", hint: "number" },
  group: { label: "Client group", hint: "njs" },
  node: { label: "Node", hint: "node7" },
  batch: { label: "Batch", hint: "id" },
  error: { label: "Failed because", choices: ERRORS },
  ended_by: {
    label: "Cancelled by",
    choices: [
      { value: "user", label: "the owner" },
      { value: "admin", label: "an administrator" },
      { value: "automation", label: "an automation" },
      { value: "batch", label: "its batch" },
      { value: "server", label: "the server" },
    ],
  },
  min_wait: { label: "Waited at least", hint: "10m, 2h, 1d" },
  min_run: { label: "Ran at least", hint: "10m, 2h, 1d" },
  label: { label: "Label", hint: "one of yours" },
  scheduler: { label: "Batch system id", hint: "4711.0" },
  runs: { label: "Batches", choices: [{ value: "true", label: "each run by itself" }] },
} satisfies Record<string, FilterField>;

export type FieldName = keyof typeof FIELDS;

/** What of these words is set in an address, in words of people. */
export function chips(
  search: URLSearchParams,
  words: readonly (FieldName | "q")[],
): { word: string; text: string }[] {
  const found: { word: string; text: string }[] = [];
  for (const word of words) {
    const value = search.get(word);
    if (!value) continue;
    const field: FilterField = word === "q" ? { label: "Search" } : FIELDS[word];
    const said = field.choices?.find((choice) => choice.value === value)?.label ?? value;
    found.push({ word, text: `${field.label}: ${said}` });
  }
  return found;
}
