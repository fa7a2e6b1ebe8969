/** What administrators did, in words. */

const ACTS: Record<string, string> = {
  set_user_limit: "Set a user’s limit",
  unset_user_limit: "Took a user’s limit away",
  set_time_rule: "Set a rule on run time",
  unset_time_rule: "Took a rule on run time away",
  set_size: "Set ceilings on sizes",
  unset_size: "Took ceilings away",
  announce: "Changed the announcements",
  pause: "Paused the engine",
  resume: "Let the engine go on",
  drain: "Drained a client group",
  undrain: "Let a client group go on",
};

const VERBS: Record<string, string> = {
  cancel: "Cancelled",
  retry: "Retried",
};

/** Acts on jobs, by the API through which they came. */
const ON_JOBS = [
  "execution_engine2.cancel_job",
  "execution_engine2.retry_job",
  "rest.actions.cancel",
  "rest.actions.retry",
];

/** An act's name for people: "set_user_limit", "execution_engine2.cancel_job". */
export function actWords(what: string): string {
  const name = what.slice(what.lastIndexOf(".") + 1);
  const known = Object.hasOwn(ACTS, name) ? ACTS[name] : undefined;
  if (known) return known;
  const [verb = "", ...rest] = name.replaceAll("_", " ").split(" ");
  const said = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
  const many = what.startsWith("rest.actions.") ? ["many jobs"] : [];
  const all = [said ?? verb, ...rest, ...many].join(" ");
  return all.charAt(0).toUpperCase() + all.slice(1);
}

/** The acts that can be chosen as a filter: the known ones, and that of the address. */
export function actChoices(chosen: string | null): string[] {
  const known = [...Object.keys(ACTS), ...ON_JOBS];
  return chosen && !known.includes(chosen) ? [...known, chosen] : known;
}

const OUTCOMES: Record<string, { word: string; colour: string }> = {
  done: { word: "Done", colour: "success" },
  failed: { word: "Failed", colour: "failed" },
  begun: { word: "Not ended", colour: "warning" },
};

/** How an act ended, as a badge shows it. */
export function outcome(name: string): { word: string; colour: string } {
  const known = Object.hasOwn(OUTCOMES, name) ? OUTCOMES[name] : undefined;
  return known ?? { word: name, colour: "none" };
}

/** Whether a target is the id of a job or a batch. */
export function isJobId(target: string): boolean {
  return /^[0-9a-f]{24}$/.test(target);
}

/** The filter words of the audit's addresses, by the API's names. The page's address says "actor"
 * for who did it. */
export const AUDIT_WORDS = { actor: "who", what: "what", target: "target", from: "from", to: "to" };

/** The API's filter of a page's address. */
export function auditFilter(search: URLSearchParams): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [word, name] of Object.entries(AUDIT_WORDS)) {
    const value = (search.get(word) ?? "").trim();
    if (value) found[name] = value;
  }
  return found;
}
