import { Button, HStack } from "@chakra-ui/react";
import { Ban, Redo2, ScrollText } from "lucide-react";
import { Link } from "react-router-dom";

import { pathOf, useAddress } from "../app/links";
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
  const address = useAddress();
  const name = `${titleOf(row)} ${row.id.slice(0, 8)}`;
  return (
    <HStack gap="0" justify="flex-end">
      {!row.is_batch && (
        <Button asChild size="2xs" variant="ghost">
          <Link to={address(`${pathOf(row)}/log`)} aria-label={`Log of ${name}`} title="Log">
            <ScrollText size={14} aria-hidden />
          </Link>
        </Button>
      )}
      {row.can_retry && (
        <Button
          size="2xs"
          variant="ghost"
          aria-label={`Retry ${name}`}
          title={row.is_batch ? "Retry failed" : "Retry"}
          onClick={() => actions.retry(actionable(row))}
        >
          <Redo2 size={14} aria-hidden />
        </Button>
      )}
      {row.can_cancel && isLive(row.status) && !asked && (
        <Button
          size="2xs"
          variant="ghost"
          colorPalette="danger"
          aria-label={`Cancel ${name}`}
          title={row.is_batch ? "Cancel all" : "Cancel"}
          onClick={() => actions.cancel(actionable(row))}
        >
          <Ban size={14} aria-hidden />
        </Button>
      )}
    </HStack>
  );
}
