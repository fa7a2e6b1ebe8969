/** How the reader likes the pages, as the server keeps it: the same in every browser. */

import { useEffect, useRef } from "react";

import { useLive } from "./live";
import { useTaste, type Taste } from "./me";
import type { Answer } from "./types";

export type PageSettings = Answer<"PageSettings">;

/** The server's words for a taste. "host" and "local" are each browser's own: kept as nothing. */
export function toServer(taste: Taste, before: PageSettings | undefined): PageSettings {
  const own = taste.zone === "host" || taste.zone === "local";
  return {
    time_zone: own ? null : taste.zone,
    density: taste.density === "compact" ? "compact" : "comfortable",
    theme: before?.theme ?? "system",
  };
}

/** What the server's words change in this browser's taste. */
export function fromServer(kept: PageSettings): Partial<Taste> {
  return {
    density: kept.density === "compact" ? "compact" : "normal",
    ...(kept.time_zone == null ? {} : { zone: kept.time_zone }),
  };
}

/** Takes over what the server keeps, once after the page was loaded. */
export function useKeptTaste(): void {
  const { set } = useTaste();
  const { data } = useLive<PageSettings>("/settings/page");
  const taken = useRef(false);
  useEffect(() => {
    if (!data || taken.current) return;
    taken.current = true;
    set(fromServer(data));
  }, [data, set]);
}
