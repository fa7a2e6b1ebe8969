/** How many jobs of a user may run at once: set it, let it end on a day, take it away. */

import { useState } from "react";

import type { Answer } from "../../app/types";
import { fieldOf, whole } from "../../lib/fields";
import { day } from "../../lib/time";
import { FormField } from "../../parts/FormField";
import { NotSaved } from "./Conflict";
import { LimitForm, NoteAndReason, useLimitChange } from "./LimitForm";
import { PreviewBox } from "./PreviewBox";
import { usePreview } from "./usePreview";

const FIELDS = ["user", "places", "expires", "note", "reason"] as const;

/** The last day of a limit that ends at a time, as the server counts it: in UTC. */
export function lastDay(expires: number): string {
  return day(expires - 1, "UTC");
}

/** own: what is set for the user now. user null: the form asks for the name. "*": the default. */
export function UserLimitForm({
  user,
  own,
  onDone,
}: {
  user: string | null;
  own: Answer<"UserLimit"> | null;
  onDone: () => void;
}) {
  const [seen, setSeen] = useState(own);
  const [name, setName] = useState(user ?? "");
  const [places, setPlaces] = useState(own ? String(own.places) : "");
  const [expires, setExpires] = useState(own?.expires ? lastDay(own.expires) : "");
  const [note, setNote] = useState(own?.note ?? "");
  const [reason, setReason] = useState("");
  const { change, save } = useLimitChange(onDone);

  const target = (user ?? name).trim();
  const wanted = whole(places);
  const ready = target !== "" && wanted !== null && !Number.isNaN(wanted);
  const preview = usePreview(
    ready && wanted >= 0 ? { kind: "user", user: target, app: "*", places: wanted } : null,
  );
  const wrong = change.error && change.error.status === 400 ? change.error.message : null;
  const place = wrong === null ? null : (fieldOf(wrong, FIELDS) ?? nameIsWrong(wrong));
  const hasPlace = place !== null && (place !== "user" || user === null);
  const at = (field: string) => (place === field ? wrong : null);

  const send = (remove: boolean) =>
    void save(
      `/limits/users/${encodeURIComponent(target)}`,
      remove ? null : { places: wanted, expires: expires || null, note: note.trim() || null },
      { reason, revision: seen?.revision ?? 0 },
      `${subject(target)} ${remove ? "taken away" : "set"}`,
    );
  const takeNewest = () => {
    setSeen(own);
    setPlaces(own ? String(own.places) : "");
    setExpires(own?.expires ? lastDay(own.expires) : "");
    setNote(own?.note ?? "");
    change.reset();
  };
  const numberWrong =
    wanted !== null && Number.isNaN(wanted) ? "Give a whole number; 0: may not start jobs" : null;

  return (
    <LimitForm
      label={user === null ? "A user’s limit" : subject(user)}
      fields={
        <>
          {user === null && (
            <FormField
              label="User"
              required
              value={name}
              onValue={setName}
              error={at("user")}
              width="40"
              autoComplete="off"
            />
          )}
          <FormField
            label="Jobs at once"
            required
            value={places}
            onValue={setPlaces}
            inputMode="numeric"
            width="36"
            error={numberWrong ?? at("places")}
            help="0: may not start jobs"
          />
          <FormField
            label="Until the end of"
            type="date"
            value={expires}
            onValue={setExpires}
            error={at("expires")}
            help="UTC; empty: for ever"
            width="44"
          />
          <NoteAndReason
            note={note}
            onNote={setNote}
            noteHelp={target === "*" ? "Everybody reads it" : "The user reads it, too"}
            reason={reason}
            onReason={setReason}
            at={at}
          />
        </>
      }
      verb="Save limit"
      ready={ready}
      busy={change.isPending}
      takeAway={seen && (user === "*" ? "Take the default away" : "Take away: the default counts")}
      onSave={() => send(false)}
      onTakeAway={() => send(true)}
      onLeave={onDone}
    >
      {ready && wanted >= 0 && <PreviewBox preview={preview} />}
      {change.error && !hasPlace && (
        <NotSaved error={change.error} onNewest={user === null ? undefined : takeNewest} />
      )}
    </LimitForm>
  );
}

function nameIsWrong(message: string): "user" | null {
  return / is not the name of a user|There is no user|No user/.test(message) ? "user" : null;
}

function subject(user: string): string {
  return user === "*" ? "Default limit" : `Limit of ${user}`;
}
