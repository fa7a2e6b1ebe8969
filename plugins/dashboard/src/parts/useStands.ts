/** Where the waiting jobs of a list stand. */

import { useMemo } from "react";

import { useLive } from "../app/live";
import type { Answer, Row } from "../app/types";
import type { Stand } from "./jobColumns";

const EVERY_MS = 15_000;
/** Asked for in one call; who has more jobs waiting sees the places of the first. */
const MOST = 100;

/** By the job's id; one call for all of them. */
export function useStands(rows: readonly Row[]): ReadonlyMap<string, Stand> {
  const ids = rows
    .filter((row) => row.status === "queued" && !row.is_batch)
    .slice(0, MOST)
    .map(({ id }) => id)
    .sort()
    .join(",");
  const live = useLive<Answer<"JobPlaces">>(ids ? `/jobs/places?ids=${ids}` : null, {
    every: EVERY_MS,
    keep: true,
  });
  return useMemo(() => {
    const found = new Map<string, Stand>();
    for (const { job_id, position, in_line, group, reason } of live.data?.items ?? [])
      found.set(job_id, { position, in_line, group, why: reason.text });
    return found;
  }, [live.data]);
}
