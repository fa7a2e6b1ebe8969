/** A rule on run time: for which app and user, how long, and whether it is for jobs of now, too. */

import { RadioGroup, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useMe } from "../../app/me";
import { decimal, fieldOf } from "../../lib/fields";
import { Choice } from "../../parts/Choice";
import { FormField } from "../../parts/FormField";
import { NotSaved } from "./Conflict";
import { LimitForm, NoteAndReason, useLimitChange } from "./LimitForm";
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
  const { change, save } = useLimitChange(onDone);

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

  const send = (remove: boolean) =>
    void save(
      `/limits/time/${encodeURIComponent(what)}/${encodeURIComponent(whose)}`,
      remove ? null : { seconds: secondsOf(wanted ?? 0), note: note.trim() || null },
      { reason, revision: seen?.revision ?? 0, apply_now: asks && when === "now" },
      remove ? "The rule is taken away" : "The rule is set",
    );
  const takeNewest = () => {
    setSeen(rule);
    if (rule) {
      setHours(hoursOf(rule.seconds));
      setNote(rule.note ?? "");
    }
    change.reset();
  };
  return (
    <LimitForm
      label={rule ? "Change a rule on run time" : "A rule on run time"}
      fields={
        <>
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
          <NoteAndReason
            note={note}
            onNote={setNote}
            noteHelp="The jobs’ owners read it, too"
            reason={reason}
            onReason={setReason}
            at={at}
          />
        </>
      }
      verb="Save rule"
      danger={when === "now" && (preview.data?.over ?? 0) > 0}
      ready={ready}
      checking={preview.busy}
      busy={change.isPending}
      takeAway={seen && "Take the rule away"}
      onSave={() => send(false)}
      onTakeAway={() => send(true)}
      onLeave={onDone}
    >
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
            <Choice value="new" text="New jobs only: what waits or runs keeps the limit it has" />
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
    </LimitForm>
  );
}

/** Messages about apps that do not begin with the field's name. */
function aboutApp(message: string): "app" | "user" | null {
  if (/ is not the name of a user|There is no user/.test(message)) return "user";
  return /\bapp\b|module|method/i.test(message) ? "app" : null;
}
