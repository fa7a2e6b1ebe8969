/** What stands in a table of jobs: rows, and below an open batch its first children. */

import type { Row } from "../app/types";

/** How many children of a batch are shown in place. */
export const CHILDREN_SHOWN = 20;

export interface Entry {
  /** The job's id; "… more" for what says that there are more. */
  key: string;
  row: Row;
  /** A child of the row above. */
  child: boolean;
  /** Instead of the row: how many more children there are; null: they are being read. */
  more?: number | null;
}

/** The entries, with the children of open batches where they are known. */
export function entriesOf(
  rows: readonly Row[],
  open?: ReadonlySet<string>,
  children?: ReadonlyMap<string, readonly Row[]>,
): readonly Entry[] {
  return rows.flatMap((row): Entry[] => {
    const entry = { key: row.id, row, child: false };
    if (!row.is_batch || !open?.has(row.id)) return [entry];
    const shown = children?.get(row.id);
    if (!shown) return [entry, { key: `${row.id} more`, row, child: true, more: null }];
    const all = Object.values(row.children ?? {}).reduce((sum, count) => sum + count, 0);
    const rest = all - shown.length;
    return [
      entry,
      ...shown.map((child) => ({ key: child.id, row: child, child: true })),
      ...(rest > 0 ? [{ key: `${row.id} more`, row, child: true, more: rest }] : []),
    ];
  });
}
