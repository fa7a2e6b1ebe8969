/** In which order live jobs stand. */

import type { Row } from "../../app/types";
import type { Stand } from "../../parts/jobColumns";

const RANK: Record<string, number> = { running: 0, queued: 1, estimating: 2, created: 3 };

/** Running first, then by place in line, then the newest. */
export function standing(rows: readonly Row[], stands: ReadonlyMap<string, Stand>): readonly Row[] {
  const rank = (row: Row) => RANK[row.status] ?? 4;
  const at = (row: Row) => stands.get(row.id)?.position ?? Number.MAX_SAFE_INTEGER;
  return [...rows].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      (a.status === "queued" ? at(a) - at(b) : 0) ||
      b.created - a.created ||
      (a.id < b.id ? 1 : -1),
  );
}
