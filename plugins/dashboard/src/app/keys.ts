/** Keys: what a page does with them, and the list that "?" shows. */

import { useEffect, useRef, useSyncExternalStore } from "react";

export interface Key {
  /** As the browser names it: "j", "/", "Enter", "G". */
  key: string;
  does: string;
  run: (event: KeyboardEvent) => void;
}

let shown: readonly Key[] = [];
const stacks: Key[][] = [];
const listeners = new Set<() => void>();

function changed(): void {
  shown = stacks.flat();
  for (const listener of listeners) listener();
}

/** Whether the event belongs to a field, a menu or a dialog and not to the page. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return true;
  if (target.closest("[role=dialog],[role=alertdialog],[role=menu],[role=listbox]")) return true;
  return event.key === "Enter" && target.closest("a,button,summary") !== null;
}

/** The keys of a page or part while it is shown. */
export function useKeys(keys: Key[]): void {
  const current = useRef(keys);
  useEffect(() => {
    current.current = keys;
  });
  const names = keys.map(({ key, does }) => `${key} ${does}`).join("\n");
  useEffect(() => {
    const mine = current.current.map(({ key, does }) => ({ key, does, run: () => undefined }));
    stacks.push(mine);
    changed();
    return () => {
      stacks.splice(stacks.indexOf(mine), 1);
      changed();
    };
  }, [names]);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.defaultPrevented || isTyping(event)) return;
      const found = current.current.find(({ key }) => key === event.key);
      if (!found) return;
      event.preventDefault();
      found.run(event);
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
}

/** All keys that do something on the page as it is. */
export function useShownKeys(): readonly Key[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => shown,
  );
}
