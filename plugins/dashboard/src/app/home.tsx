/** Where the dashboard lives: inside Airflow's pages, or on a page of its own. */

import { createContext, useContext } from "react";

export interface Home {
  kind: "airflow" | "alone";
  /** The REST API's address, without a slash at its end. */
  api: string;
  /** What goes before the dashboard's own paths in links of the router. */
  root: string;
  /** Airflow's address, for links to its runs; null where the reader has no account there. */
  airflow: string | null;
}

const HomeContext = createContext<Home | null>(null);

export const HomeProvider = HomeContext.Provider;

export function useHome(): Home {
  const home = useContext(HomeContext);
  if (!home) throw new Error("no home given");
  return home;
}

/** The path of Airflow's own pages' base ("/" or "/some/prefix/"), from its <base>. */
function basePath(): string {
  const base = document.querySelector("base")?.href;
  return (base ? new URL(base).pathname : "/").replace(/\/$/, "");
}

export function airflowHome(): Home {
  const base = basePath();
  return {
    kind: "airflow",
    api: `${base}/services/ee2/api/v1`,
    root: "/plugin/ee2-jobs",
    airflow: base,
  };
}

/** The page of its own: its <base> is the address at which it was mounted. */
export function aloneHome(): Home & { basename: string } {
  const base = basePath();
  return { kind: "alone", api: `${base}/api/v1`, root: "", airflow: null, basename: base };
}
