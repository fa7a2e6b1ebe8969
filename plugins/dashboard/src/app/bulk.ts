/** Actions on many jobs: the server does them; a message tells how it goes, on whatever page. */

import { number, plural } from "../lib/format";
import { query } from "../lib/words";
import { say, sayMore } from "../parts/toasts";
import { ApiError, call } from "./api";
import { pokeLists } from "./jobList";
import { pause } from "./live";
import type { Answer } from "./types";

export type Preview = Answer<"api_bridge__rest__actions__Preview">;
type State = Answer<"ActionState">;

export interface BulkWish {
  action: "cancel" | "retry";
  /** Which jobs: by id, or those that a filter finds on the server. */
  ids?: readonly string[];
  filter?: Readonly<Record<string, string>>;
  sort?: string;
  /** By an administrator's right. */
  asAdmin: boolean;
}

function bodyOf({ action, ids, filter, sort }: BulkWish) {
  return { action, ids, filter, sort: filter ? sort : undefined };
}

/** What would happen. */
export function preview(api: string, wish: BulkWish, reason?: string): Promise<Preview> {
  return call(`${api}/actions/preview${query({ as_admin: wish.asAdmin })}`, {
    method: "POST",
    body: { ...bodyOf(wish), reason },
  });
}

/** Has it done, and tells of it until it is done. expect: how many jobs the reader was told. */
export async function begin(
  api: string,
  wish: BulkWish,
  told: { reason: string; expect: number; key: string },
): Promise<void> {
  const { id } = await call<Answer<"Accepted">>(
    `${api}/actions${query({ as_admin: wish.asAdmin })}`,
    { method: "POST", body: { ...bodyOf(wish), ...told, reason: told.reason || undefined } },
  );
  follow(api, wish, id);
}

/** The sentence about an action that has ended. */
export function result(state: State): string {
  const parts = [`${number(state.done)} of ${number(state.total)} done`];
  if (state.skipped.count) parts.push(`${number(state.skipped.count)} had ended before`);
  const [first] = state.failed.items;
  if (state.failed.count)
    parts.push(`${number(state.failed.count)} not done${first ? `: ${first.reason}` : ""}`);
  return parts.join(", ");
}

function follow(api: string, wish: BulkWish, id: string): void {
  const doing = wish.action === "cancel" ? "Cancelling" : "Retrying";
  const toast = say({ kind: "loading", title: `${doing} jobs`, duration: Infinity });
  let failed = 0;
  const look = async () => {
    try {
      const state = await call<State>(`${api}/actions/${id}${query({ as_admin: wish.asAdmin })}`);
      failed = 0;
      if (state.finished !== null) {
        pokeLists();
        sayMore(toast, {
          kind: state.failed.count ? "warning" : "success",
          title: `${wish.action === "cancel" ? "Cancelled" : "Retried"} ${plural(state.done, "job")}`,
          description: result(state),
          duration: 15_000,
        });
        return;
      }
      sayMore(toast, {
        kind: "loading",
        title: `${doing} ${plural(state.total, "job")}`,
        description: `${number(state.done)} done. You can leave this page.`,
        duration: Infinity,
      });
    } catch (problem) {
      failed += 1;
      if (problem instanceof ApiError && !problem.passing) {
        sayMore(toast, {
          kind: "warning",
          title: `${doing} goes on at the server`,
          description: `How it goes cannot be told: ${problem.message}`,
          duration: 15_000,
        });
        return;
      }
    }
    setTimeout(() => void look(), pause(1500, failed, null));
  };
  void look();
}
