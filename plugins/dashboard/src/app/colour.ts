/** Light or dark on the page of its own; within Airflow that is the host's matter.
 *
 * No library: the usual one puts a script into the page, which its content security policy refuses.
 */

import { useSyncExternalStore } from "react";

const KEY = "theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();
let asked: "light" | "dark" | null = null;

function chosen(): "light" | "dark" {
  if (asked) return asked;
  try {
    const kept = localStorage.getItem(KEY);
    if (kept === "light" || kept === "dark") return kept;
  } catch {
    // No storage here: as the system has it.
  }
  return system.matches ? "dark" : "light";
}

function show(): void {
  const now = chosen();
  const { classList, style } = document.documentElement;
  classList.remove("light", "dark");
  classList.add(now);
  style.colorScheme = now;
  for (const listener of listeners) listener();
}

/** Shows the page as was chosen, or as the system has it, from now on. */
export function startColours(): void {
  show();
  system.addEventListener("change", show);
  window.addEventListener("storage", ({ key }) => {
    if (key !== KEY) return;
    asked = null;
    show();
  });
}

/** Chooses, for the visits to come too. */
export function setColours(mode: "light" | "dark"): void {
  asked = mode;
  try {
    localStorage.setItem(KEY, mode);
  } catch {
    // For this page only.
  }
  show();
}

/** What the page shows. */
export function useColours(): "light" | "dark" {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => (document.documentElement.classList.contains("dark") ? "dark" : "light"),
  );
}
