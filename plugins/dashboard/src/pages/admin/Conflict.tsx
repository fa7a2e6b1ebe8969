import { Button } from "@chakra-ui/react";

import { ApiError } from "../../app/api";
import { Notice } from "../../parts/Notice";

/** Why a form was not saved, where no field is to blame. onNewest: takes over what is set now, after
 * somebody else was faster. */
export function NotSaved({ error, onNewest }: { error: unknown; onNewest?: () => void }) {
  if (!(error instanceof ApiError)) return null;
  if (error.status === 409)
    return (
      <Notice
        kind="warning"
        title="Somebody else has changed this meanwhile"
        action={
          onNewest && (
            <Button size="xs" variant="outline" onClick={onNewest}>
              Show what is set now
            </Button>
          )
        }
      >
        {error.message}. Nothing of yours was saved.
      </Notice>
    );
  return (
    <Notice kind="error" title="This was not saved">
      {error.message}
    </Notice>
  );
}
