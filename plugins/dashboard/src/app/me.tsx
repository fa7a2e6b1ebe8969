/** Who looks, and how they like it. */

import {
  createContext,
  useCallback,
  useContext,
  useMemo,
  useState,
  useSyncExternalStore,
  type ReactNode,
} from "react";

import { isZone, localZone } from "../lib/time";
import type { Me } from "./types";

const MeContext = createContext<Me | null>(null);
export const MeProvider = MeContext.Provider;

export function useMe(): Me {
  const me = useContext(MeContext);
  if (!me) throw new Error("nobody is signed in");
  return me;
}

export type Density = "normal" | "compact";

export interface Taste {
  /** The zone in which exact times are shown: a name of the IANA, "local", or "host": the one
   * chosen in Airflow's own menu (local where the page is not within Airflow). */
  zone: string;
  density: Density;
}

const KEY = "ee2.taste";

function kept(): Taste {
  let found: Partial<Taste> = {};
  try {
    found = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Taste>;
  } catch {
    // Spoilt, or no storage here: as for a first visit.
  }
  return {
    zone: typeof found.zone === "string" ? found.zone : "host",
    density: found.density === "compact" ? "compact" : "normal",
  };
}

/** The zone chosen in Airflow's own menu, if the page is within Airflow. */
function hostZone(): string {
  try {
    const zone: unknown = JSON.parse(localStorage.getItem("timezone") ?? "null");
    return typeof zone === "string" && isZone(zone) ? zone : "local";
  } catch {
    return "local";
  }
}

/** The host tells nobody when its zone is changed; it is changed by a click or in another window. */
function onHostZone(changed: () => void): () => void {
  const kinds = ["click", "focus", "storage"] as const;
  for (const kind of kinds) window.addEventListener(kind, changed);
  return () => {
    for (const kind of kinds) window.removeEventListener(kind, changed);
  };
}

interface TasteState extends Taste {
  /** The zone as a name that `Intl` knows. */
  shownZone: string;
  set: (change: Partial<Taste>) => void;
}

const TasteContext = createContext<TasteState | null>(null);

export function TasteProvider({ children }: { children: ReactNode }) {
  const [taste, setTaste] = useState(kept);
  const set = useCallback((change: Partial<Taste>) => {
    setTaste((before) => {
      const next = { ...before, ...change };
      try {
        localStorage.setItem(KEY, JSON.stringify(next));
      } catch {
        // Kept for this page only.
      }
      return next;
    });
  }, []);
  const host = useSyncExternalStore(onHostZone, hostZone);
  const value = useMemo(() => {
    const zone = taste.zone === "host" ? host : taste.zone;
    const shownZone = zone === "local" || !isZone(zone) ? localZone() : zone;
    return { ...taste, shownZone, set };
  }, [taste, host, set]);
  return <TasteContext.Provider value={value}>{children}</TasteContext.Provider>;
}

export function useTaste(): TasteState {
  const taste = useContext(TasteContext);
  if (!taste) throw new Error("no taste given");
  return taste;
}

/** The zone in which exact times are shown, as a name that `Intl` knows. */
export function useZone(): string {
  return useTaste().shownZone;
}
