import { useLive, type Live } from "../../app/live";
import { useMe } from "../../app/me";
import type { JobPage } from "../../app/types";
import { isLive } from "../../lib/states";
import { query } from "../../lib/words";

const LIVE_MS = 3000;

export interface Seen {
  live: Live<JobPage>;
  /** Whether the job's addresses have to be read by an administrator's right. */
  admin: boolean;
  /** No such job, or not for this reader; an id that can be none says the same. */
  none: boolean;
}

/** A job's page, kept fresh until the job has ended. Administrators read every job by their right;
 * what they change in jobs of their own they do as owners (see JobActions). */
export function useJobPage(id: string): Seen {
  const me = useMe();
  const admin = me.is_admin || me.is_admin_reader;
  const live = useLive<JobPage>(pathOfPart(id, "", admin), {
    every: (job) => (job && !job.is_batch && isLive(job.status) ? LIVE_MS : null),
  });
  const none = live.error !== null && (live.error.hidden || live.error.status === 400);
  return { live, admin, none };
}

/** The API's path of a job or of a part of it ("/io"). */
export function pathOfPart(
  id: string,
  part: string,
  admin: boolean,
  more: Parameters<typeof query>[0] = {},
): string {
  return `/jobs/${encodeURIComponent(id)}${part}${query({ ...more, as_admin: admin })}`;
}
