/** Keys in a table of jobs: to move, open, select, cancel, retry, and to the log. */

import { useCallback, useEffect, useState, type RefObject } from "react";

import { useKeys, type Key } from "../app/keys";
import type { ListMemory } from "../app/jobList";
import { pathOf, useGo } from "../app/links";
import type { Row } from "../app/types";
import type { Entry } from "./batchRows";
import type { JobWays } from "./JobActions";
import { titleOf } from "./jobColumns";

interface RowKeys {
  enabled: boolean;
  box: RefObject<HTMLElement | null>;
  entries: readonly Entry[];
  memory: ListMemory | undefined;
  /** Brings an entry into the page. */
  reveal: (at: number) => void;
  actions: JobWays | undefined;
  toggle: ((id: string) => void) | undefined;
}

/** What `JobActions` has to know of a row. */
export function actionable(row: Row) {
  return { ...row, app: titleOf(row) };
}

/** Gives a row the focus; one that was far away is there after the next drawing. */
function focusRow(box: RefObject<HTMLElement | null>, key: string): void {
  const found = () => box.current?.querySelector<HTMLElement>(`[data-row="${CSS.escape(key)}"]`);
  const now = found();
  if (now) now.focus();
  else requestAnimationFrame(() => requestAnimationFrame(() => found()?.focus()));
}

/** The key of the row that has the focus, or had it last; it is where Tab enters the table. */
export function useRowKeys(given: RowKeys): string | undefined {
  const { enabled, box, entries, memory, reveal, actions, toggle } = given;
  const [current, setCurrent] = useState(memory?.row);
  const go = useGo();
  const focus = useCallback((key: string) => focusRow(box, key), [box]);
  useEffect(() => {
    const element = box.current;
    const entered = (event: FocusEvent) => {
      const row = event.target instanceof Element ? event.target.closest("[data-row]") : null;
      const key = row?.getAttribute("data-row");
      if (!key) return;
      if (memory) memory.row = key;
      setCurrent(key);
    };
    element?.addEventListener("focusin", entered);
    return () => element?.removeEventListener("focusin", entered);
  });
  // Back from a job: its row has the focus again.
  useEffect(() => {
    if (memory?.row) focus(memory.row);
  }, [memory, focus]);

  const at = entries.findIndex(({ key }) => key === current);
  const move = (by: number) => {
    const next = at < 0 ? 0 : Math.min(entries.length - 1, Math.max(0, at + by));
    const entry = entries[next];
    if (!entry) return;
    reveal(next);
    focus(entry.key);
  };
  const row = entries[at]?.row;
  const keys: Key[] = enabled
    ? [
        { key: "j", does: "next row", run: () => move(1) },
        { key: "k", does: "row before", run: () => move(-1) },
        { key: "Enter", does: "open the job", run: () => row && go(pathOf(row)) },
        ...(toggle ? [{ key: "x", does: "select the row", run: () => row && toggle(row.id) }] : []),
        ...(actions
          ? [
              {
                key: "c",
                does: "cancel the job",
                run: () => row?.can_cancel && actions.cancel(actionable(row)),
              },
              {
                key: "r",
                does: "retry the job",
                run: () => row?.can_retry && actions.retry(actionable(row)),
              },
            ]
          : []),
        {
          key: "l",
          does: "its log",
          run: () => row && go(row.is_batch ? pathOf(row) : `/jobs/${row.id}/log`),
        },
      ]
    : [];
  useKeys(keys);
  return current ?? entries[0]?.key;
}
