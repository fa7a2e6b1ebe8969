/** What the forms of all limits have alike: saving, taking away, the note and the reason. */

import { Box, Button, HStack, Stack } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { ApiError } from "../../app/api";
import { useChange } from "../../app/live";
import type { Answer } from "../../app/types";
import { query } from "../../lib/words";
import { FormField } from "../../parts/FormField";
import { say } from "../../parts/toasts";

/** Saves a limit (`body`) or takes it away (null); `title` is said then, and onDone called. What the
 * server refuses stands in `change.error`. */
export function useLimitChange(onDone: () => void) {
  const change = useChange<Answer<"Changed">>();
  const save = async (
    path: string,
    body: object | null,
    more: { reason: string; revision: number; apply_now?: boolean },
    title: string,
  ) => {
    const said = { ...more, reason: more.reason.trim() || null };
    try {
      const done = await change.mutateAsync(
        body === null
          ? { path: path + query(said), method: "DELETE" }
          : { path, method: "PUT", body: { ...body, ...said } },
      );
      const applied = done.applied ? `Applied to ${done.applied} jobs. ` : "";
      say({ kind: "success", title, description: applied + done.preview.text });
      onDone();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
    }
  };
  return { change, save };
}

/** The fields of every limit. at: what is wrong with a field. */
export function NoteAndReason({
  note,
  onNote,
  noteHelp,
  reason,
  onReason,
  at,
}: {
  note: string;
  onNote: (note: string) => void;
  noteHelp?: string;
  reason: string;
  onReason: (reason: string) => void;
  at: (field: string) => string | null;
}) {
  const width = { base: "100%", md: "64" };
  return (
    <>
      <FormField
        label="Note"
        width={width}
        maxLength={300}
        value={note}
        onValue={onNote}
        error={at("note")}
        help={noteHelp}
      />
      <FormField
        label="Reason"
        width={width}
        maxLength={1000}
        value={reason}
        onValue={onReason}
        error={at("reason")}
        help="For the audit"
      />
    </>
  );
}

/** The form's frame: its fields in a row, what stands below them, and its buttons. */
export function LimitForm({
  label,
  fields,
  children,
  verb,
  danger = false,
  ready,
  checking = false,
  busy,
  takeAway,
  onSave,
  onTakeAway,
  onLeave,
}: {
  label: string;
  fields: ReactNode;
  children: ReactNode;
  /** On the button that saves. */
  verb: string;
  danger?: boolean;
  ready: boolean;
  /** It is not known yet what saving would do. */
  checking?: boolean;
  busy: boolean;
  /** On the button that takes the limit away; null: there is none yet. */
  takeAway: string | null;
  onSave: () => void;
  onTakeAway: () => void;
  onLeave: () => void;
}) {
  return (
    <Box asChild borderWidth="1px" borderRadius="md" p="4" mb="3" bg="bg">
      <form
        noValidate
        aria-label={label}
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) onSave();
        }}
      >
        <Stack gap="3">
          <HStack gap="4" align="start" wrap="wrap">
            {fields}
          </HStack>
          {children}
          <HStack gap="2" wrap="wrap">
            <Button
              type="submit"
              size="sm"
              colorPalette={danger ? "danger" : "brand"}
              disabled={!ready || checking}
              loading={busy}
            >
              {verb}
            </Button>
            <Button size="sm" variant="outline" onClick={onLeave}>
              Leave as it is
            </Button>
            {takeAway !== null && (
              <Button
                size="sm"
                variant="ghost"
                colorPalette="danger"
                ml={{ sm: "auto" }}
                disabled={busy}
                onClick={onTakeAway}
              >
                {takeAway}
              </Button>
            )}
          </HStack>
        </Stack>
      </form>
    </Box>
  );
}
