/** Follows an action on the server to its end, whatever page is shown meanwhile. */

import { call, said } from "../../app/api";
import type { Answer } from "../../app/types";
import { number, plural } from "../../lib/format";
import { say, sayMore, type Say } from "../../parts/toasts";

export type ActionState = Answer<"ActionState">;

const EVERY_MS = 1000;
const MOST_FAILURES = 20;

/** What is said of an action as it stands. */
export function progress(state: ActionState): Say {
  const verb = state.action === "retry" ? "Retrying" : "Cancelling";
  const past = state.action === "retry" ? "retried" : "cancelled";
  if (state.state !== "done")
    return {
      kind: "loading",
      title: `${verb} ${plural(state.total, "job")}`,
      description: `${number(state.done)} of ${number(state.total)} done. You may leave this page.`,
      duration: Infinity,
    };
  const { skipped, failed } = state;
  const rest = [
    failed.count ? `${number(failed.count)} could not be ${past}` : "",
    skipped.count ? `${number(skipped.count)} had changed by then` : "",
  ].filter(Boolean);
  const [first] = [...failed.items, ...skipped.items];
  return {
    kind: failed.count ? "warning" : "success",
    title: `${plural(state.done, "job")} ${past}`,
    description: rest.length ? `${rest.join(", ")}${first ? `: ${first.reason}` : ""}` : undefined,
    duration: failed.count ? 20_000 : 8000,
  };
}

/** Shows how the action goes until it is done; then `done` is called. address: of the action. */
export async function follow(address: string, done: () => void): Promise<void> {
  const toast = say({ kind: "loading", title: "Asking the server", duration: Infinity });
  let failures = 0;
  for (;;) {
    try {
      const state = await call<ActionState>(address);
      failures = 0;
      sayMore(toast, progress(state));
      if (state.state === "done") break;
    } catch (problem) {
      failures += 1;
      if (failures >= MOST_FAILURES) {
        sayMore(toast, {
          kind: "warning",
          title: "The server does not say how it goes",
          description: `It goes on there all the same. ${said(problem)}`,
          duration: 20_000,
        });
        break;
      }
    }
    await new Promise((go) => setTimeout(go, EVERY_MS * Math.min(10, failures + 1)));
  }
  done();
}
