/** The first children of batches that are open in a list. */

import { useQueries } from "@tanstack/react-query";
import { useMemo } from "react";

import { isLive } from "../lib/states";
import { CHILDREN_SHOWN } from "../parts/batchRows";
import { call } from "./api";
import { useHome } from "./home";
import { pause } from "./live";
import type { JobList, Row } from "./types";

/** By the batch's id; a batch whose children are not read yet is missing. */
export function useChildren(batches: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  const { api } = useHome();
  const answers = useQueries({
    queries: batches.map((batch) => {
      const url = `${api}/jobs?batch=${batch.id}&limit=${CHILDREN_SHOWN}&sort=index`;
      return {
        queryKey: ["api", url],
        queryFn: ({ signal }: { signal: AbortSignal }) => call<JobList>(url, { signal }),
        refetchInterval: () => (isLive(batch.status) ? pause(5000, 0, null) : false),
      };
    }),
    combine: (results) => results.map(({ data }) => data?.items),
  });
  return useMemo(() => {
    const found = new Map<string, readonly Row[]>();
    batches.forEach((batch, at) => {
      const rows = answers[at];
      if (rows) found.set(batch.id, rows);
    });
    return found;
  }, [batches, answers]);
}
