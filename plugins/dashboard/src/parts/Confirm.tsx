/** Asking before something is done that cannot be undone. */

import { Button, Dialog, Field, Input, Stack, Text, Textarea } from "@chakra-ui/react";
import { useRef, useState, type ReactNode } from "react";

import { ApiError, said } from "../app/api";
import { Notice } from "./Notice";
import { Popup } from "./Popup";

export interface ConfirmProps {
  open: boolean;
  onClose: () => void;
  title: string;
  /** What will happen, and to what. */
  children: ReactNode;
  /** On the button that does it: a verb and its object, "Cancel job". */
  verb: string;
  /** On the button that does not; it has the focus when the dialog opens. */
  keep: string;
  danger?: boolean;
  /** A reason is asked for. required: and must be given. */
  reason?: "optional" | "required";
  reasonHelp?: string;
  /** This text has to be typed before it can be done (a number of jobs, say). */
  type?: string;
  /** Does it. An error is shown in the dialog, which stays open. */
  act: (reason: string) => Promise<unknown>;
}

/** The dialog. The focus starts on the button that keeps things as they are. */
export function Confirm(props: ConfirmProps) {
  const keepRef = useRef<HTMLButtonElement>(null);
  return (
    <Popup
      open={props.open}
      onClose={props.onClose}
      role="alertdialog"
      initialFocusEl={() => keepRef.current}
    >
      <Inside {...props} keepRef={keepRef} />
    </Popup>
  );
}

function Inside({
  onClose,
  title,
  children,
  verb,
  keep,
  danger = true,
  reason,
  reasonHelp,
  type,
  act,
  keepRef,
}: ConfirmProps & { keepRef: React.RefObject<HTMLButtonElement | null> }) {
  const [why, setWhy] = useState("");
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const ready =
    (reason !== "required" || why.trim() !== "") && (type === undefined || typed.trim() === type);
  const go = async () => {
    if (!ready || busy) return;
    setBusy(true);
    setError(null);
    try {
      await act(why.trim());
      onClose();
    } catch (problem) {
      setError(
        problem instanceof ApiError && problem.signedOut ? "Please sign in again." : said(problem),
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void go();
      }}
    >
      <Dialog.Header>
        <Dialog.Title>{title}</Dialog.Title>
      </Dialog.Header>
      <Dialog.Body>
        <Stack gap="4">
          <Text as="div">{children}</Text>
          {reason && (
            <Field.Root required={reason === "required"}>
              <Field.Label>
                Reason <Field.RequiredIndicator />
              </Field.Label>
              <Textarea value={why} maxLength={500} onChange={(e) => setWhy(e.target.value)} />
              {reasonHelp && <Field.HelperText>{reasonHelp}</Field.HelperText>}
            </Field.Root>
          )}
          {type !== undefined && (
            <Field.Root required>
              <Field.Label>Type {type} to go on</Field.Label>
              <Input value={typed} autoComplete="off" onChange={(e) => setTyped(e.target.value)} />
            </Field.Root>
          )}
          {error && (
            <Notice kind="error" title="This was not done">
              {error}
            </Notice>
          )}
        </Stack>
      </Dialog.Body>
      <Dialog.Footer>
        <Button ref={keepRef} variant="outline" onClick={onClose}>
          {keep}
        </Button>
        <Button
          type="submit"
          colorPalette={danger ? "danger" : "brand"}
          disabled={!ready}
          loading={busy}
        >
          {verb}
        </Button>
      </Dialog.Footer>
    </form>
  );
}
