/** A rule on run time: for which app and user, how long, and whether it is for jobs of now, too. */

import { Box, Button, HStack, RadioGroup, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { ApiError } from "../../app/api";
import { useChange } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { decimal, fieldOf } from "../../lib/fields";
import { query } from "../../lib/words";
import { FormField } from "../../parts/FormField";
import { say } from "../../parts/toasts";
import { NotSaved } from "./Conflict";
import { ANY, hoursOf, secondsOf, type Rule } from "./limits";
import { PreviewBox } from "./PreviewBox";
import { usePreview } from "./usePreview";

const FIELDS = ["app", "user", "seconds", "note", "reason"] as const;

type When = "now" | "new";

/** rule null: a new one. */
export function RuleForm({ rule, onDone }: { rule: Rule | null; onDone: () => void }) {
  const me = useMe();
  const [seen, setSeen] = useState(rule);
  const [app, setApp] = useState(rule?.app ?? "");
  const [user, setUser] = useState(rule?.user ?? "");
  const [hours, setHours] = useState(rule ? hoursOf(rule.seconds) : "");
  const [note, setNote] = useState(rule?.note ?? "");
  const [reason, setReason] = useState("");
  const [when, setWhen] = useState<When | null>(null);
  const change = useChange<Answer<"Changed">>();

  const what = app.trim() || ANY;
  const whose = user.trim() || ANY;
  const wanted = decimal(hours);
  const number = wanted !== null && !Number.isNaN(wanted);
  const preview = usePreview(
    number && wanted > 0
      ? { kind: "time", app: what, user: whose, seconds: secondsOf(wanted) }
      : null,
  );
  const live = (preview.data?.waiting ?? 0) + (preview.data?.running ?? 0);
  // Owners of apps may set rules for jobs that come only.
  const asks = me.is_admin && live > 0;
  const ready = number && (!asks || when !== null);
  const wrong =
    change.error?.status === 400 || change.error?.status === 404 ? change.error.message : null;
  const place = wrong === null ? null : (fieldOf(wrong, FIELDS) ?? aboutApp(wrong));
  const hasPlace = place !== null && !(rule && ["app", "user"].includes(place));
  const at = (field: string) => (place === field ? wrong : null);

  const send = async (remove: boolean) => {
    const path = `/limits/time/${encodeURIComponent(what)}/${encodeURIComponent(whose)}`;
    const revision = seen?.revision ?? 0;
    const why = reason.trim() || undefined;
    const apply_now = asks && when === "now";
    try {
      const done = await change.mutateAsync(
        remove
          ? { path: path + query({ reason: why, revision, apply_now }), method: "DELETE" }
          : {
              path,
              method: "PUT",
              body: {
                seconds: secondsOf(wanted ?? 0),
                note: note.trim() || null,
                reason: why ?? null,
                revision,
                apply_now,
              },
            },
      );
      say({
        kind: "success",
        title: remove ? "The rule is taken away" : "The rule is set",
        description: done.applied
          ? `Applied to ${done.applied} jobs. ${done.preview.text}`
          : done.preview.text,
      });
      onDone();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
    }
  };
  const takeNewest = () => {
    setSeen(rule);
    if (rule) {
      setHours(hoursOf(rule.seconds));
      setNote(rule.note ?? "");
    }
    change.reset();
  };
  return (
    <Box asChild borderWidth="1px" borderRadius="md" p="4" bg="bg">
      <form
        noValidate
        aria-label={rule ? "Change a rule on run time" : "A rule on run time"}
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) void send(false);
        }}
      >
        <Stack gap="3">
          <HStack gap="4" align="start" wrap="wrap">
            {!rule && (
              <>
                <FormField
                  label="App"
                  width="72"
                  value={app}
                  onValue={setApp}
                  placeholder="Module.method"
                  error={at("app")}
                  help="empty: any app"
                  autoComplete="off"
                />
                <FormField
                  label="User"
                  width="40"
                  value={user}
                  onValue={setUser}
                  error={at("user")}
                  help="empty: any user"
                  autoComplete="off"
                />
              </>
            )}
            <FormField
              label="Hours"
              required
              width="32"
              inputMode="decimal"
              value={hours}
              onValue={setHours}
              error={
                wanted !== null && !number ? "Give a number of hours, such as 1.5" : at("seconds")
              }
              help="1.5 is 1 h 30 m"
            />
            <FormField
              label="Note"
              width={{ base: "100%", md: "64" }}
              maxLength={300}
              value={note}
              onValue={setNote}
              error={at("note")}
              help="The jobs’ owners read it, too"
            />
            <FormField
              label="Reason"
              width={{ base: "100%", md: "64" }}
              maxLength={1000}
              value={reason}
              onValue={setReason}
              error={at("reason")}
              help="For the audit"
            />
          </HStack>
          {number && wanted > 0 && <PreviewBox preview={preview} />}
          {asks && (
            <RadioGroup.Root
              value={when}
              onValueChange={(to) => setWhen(to.value === "now" ? "now" : "new")}
              size="sm"
              aria-label="For which jobs"
            >
              <Stack gap="2">
                <Text fontSize="sm" fontWeight="medium">
                  For which jobs?
                </Text>
                <Choice
                  value="new"
                  text="New jobs only: what waits or runs keeps the limit it has"
                />
                <Choice
                  value="now"
                  text={`Also what waits or runs now${
                    preview.data?.over
                      ? `; ${preview.data.over} have run longer already and are ended`
                      : ""
                  }`}
                />
              </Stack>
            </RadioGroup.Root>
          )}
          {change.error && !hasPlace && (
            <NotSaved error={change.error} onNewest={rule ? takeNewest : undefined} />
          )}
          <HStack gap="2" wrap="wrap">
            <Button
              type="submit"
              size="sm"
              colorPalette={when === "now" && preview.data?.over ? "danger" : "brand"}
              disabled={!ready || preview.busy}
              loading={change.isPending}
            >
              Save rule
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
                Take the rule away
              </Button>
            )}
          </HStack>
        </Stack>
      </form>
    </Box>
  );
}

function Choice({ value, text }: { value: When; text: string }) {
  return (
    <RadioGroup.Item value={value}>
      <RadioGroup.ItemHiddenInput />
      <RadioGroup.ItemIndicator />
      <RadioGroup.ItemText>{text}</RadioGroup.ItemText>
    </RadioGroup.Item>
  );
}

/** Messages about apps that do not begin with the field's name. */
function aboutApp(message: string): "app" | "user" | null {
  if (/ is not the name of a user|There is no user/.test(message)) return "user";
  return /\bapp\b|module|method/i.test(message) ? "app" : null;
}
