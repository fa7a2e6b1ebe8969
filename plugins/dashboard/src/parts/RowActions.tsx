import { Ban, Redo2, ScrollText } from "lucide-react";

import { pathOf, RowLink } from "../app/links";
import type { Row } from "../app/types";
import { isLive } from "../lib/states";
import type { JobWays } from "./JobActions";
import { titleOf } from "./jobColumns";
import { actionable } from "./rowKeys";

/** What can be done with a job, as small buttons; what cannot be is not offered. */
export function RowActions({
  row,
  actions,
  asked,
}: {
  row: Row;
  actions: JobWays;
  /** It was asked to be cancelled already. */
  asked: boolean;
}) {
  const name = `${titleOf(row)} ${row.id.slice(0, 8)}`;
  return (
    <div className="acts">
      {!row.is_batch && (
        <RowLink to={`${pathOf(row)}/log`} aria-label={`Log of ${name}`} title="Log">
          <ScrollText size={14} aria-hidden />
        </RowLink>
      )}
      {row.can_retry && (
        <button
          type="button"
          aria-label={`Retry ${name}`}
          title={row.is_batch ? "Retry failed" : "Retry"}
          onClick={() => actions.retry(actionable(row))}
        >
          <Redo2 size={14} aria-hidden />
        </button>
      )}
      {row.can_cancel && isLive(row.status) && !asked && (
        <button
          type="button"
          className="danger"
          aria-label={`Cancel ${name}`}
          title={row.is_batch ? "Cancel all" : "Cancel"}
          onClick={() => actions.cancel(actionable(row))}
        >
          <Ban size={14} aria-hidden />
        </button>
      )}
    </div>
  );
}
