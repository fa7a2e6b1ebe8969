/** How many jobs of a user may run at once: set it, let it end on a day, take it away. */

import { Box, Button, HStack, Stack } from "@chakra-ui/react";
import { useState } from "react";

import { ApiError } from "../../app/api";
import { useChange } from "../../app/live";
import type { Answer } from "../../app/types";
import { fieldOf, whole } from "../../lib/fields";
import { day } from "../../lib/time";
import { query } from "../../lib/words";
import { FormField } from "../../parts/FormField";
import { say } from "../../parts/toasts";
import { NotSaved } from "./Conflict";
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
  const change = useChange<Answer<"Changed">>();

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

  const send = async (remove: boolean) => {
    const path = `/limits/users/${encodeURIComponent(target)}`;
    const revision = seen?.revision ?? 0;
    const why = reason.trim() || undefined;
    try {
      const done = await change.mutateAsync(
        remove
          ? { path: path + query({ reason: why, revision }), method: "DELETE" }
          : {
              path,
              method: "PUT",
              body: {
                places: wanted,
                expires: expires || null,
                note: note.trim() || null,
                reason: why ?? null,
                revision,
              },
            },
      );
      say({
        kind: "success",
        title: remove ? `${subject(target)} taken away` : `${subject(target)} set`,
        description: done.preview.text,
      });
      onDone();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
    }
  };
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
    <Box asChild borderWidth="1px" borderRadius="md" p="4" bg="bg">
      <form
        noValidate
        aria-label={user === null ? "A user’s limit" : subject(user)}
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void send(false);
        }}
      >
        <Stack gap="3">
          <HStack gap="4" align="start" wrap="wrap">
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
            <FormField
              label="Note"
              value={note}
              onValue={setNote}
              maxLength={300}
              error={at("note")}
              help={target === "*" ? "Everybody reads it" : "The user reads it, too"}
              width={{ base: "100%", md: "64" }}
            />
            <FormField
              label="Reason"
              value={reason}
              onValue={setReason}
              maxLength={1000}
              error={at("reason")}
              help="For the audit"
              width={{ base: "100%", md: "64" }}
            />
          </HStack>
          {ready && wanted >= 0 && <PreviewBox preview={preview} />}
          {change.error && !hasPlace && (
            <NotSaved error={change.error} onNewest={user === null ? undefined : takeNewest} />
          )}
          <HStack gap="2" wrap="wrap">
            <Button
              type="submit"
              size="sm"
              colorPalette="brand"
              disabled={!ready}
              loading={change.isPending}
            >
              Save limit
            </Button>
            <Button size="sm" variant="outline" onClick={onDone}>
              Leave as it is
            </Button>
            {seen && (
              <Button
                size="sm"
                variant="ghost"
                colorPalette="danger"
                ml={{ sm: "auto" }}
                disabled={change.isPending}
                onClick={() => void send(true)}
              >
                {user === "*" ? "Take the default away" : "Take away: the default counts"}
              </Button>
            )}
          </HStack>
        </Stack>
      </form>
    </Box>
  );
}

function nameIsWrong(message: string): "user" | null {
  return / is not the name of a user|There is no user|No user/.test(message) ? "user" : null;
}

function subject(user: string): string {
  return user === "*" ? "Default limit" : `Limit of ${user}`;
}
