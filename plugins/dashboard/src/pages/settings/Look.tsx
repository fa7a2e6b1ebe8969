import { Field, HStack, NativeSelect, RadioGroup, Stack, Text } from "@chakra-ui/react";
import { useMemo } from "react";

import { useHome } from "../../app/home";
import { toServer, type PageSettings } from "../../app/kept";
import { useChange, useLive } from "../../app/live";
import { useMe, useTaste, type Taste } from "../../app/me";
import { useNow } from "../../lib/clock";
import { exactWithZone } from "../../lib/time";
import { Choice } from "../../parts/Choice";
import { Notice } from "../../parts/Notice";
import { zoneLabel, zoneNames } from "./zones";

/** Time zone and density: in force at once here, and kept for the reader's other browsers. */
export function Look() {
  const home = useHome();
  const me = useMe();
  const taste = useTaste();
  const now = useNow();
  const live = useLive<PageSettings>("/settings/page");
  const change = useChange();
  const names = useMemo(() => zoneNames(taste.zone), [taste.zone]);
  const set = (to: Partial<Taste>) => {
    taste.set(to);
    if (me.may_write)
      change.mutate({
        path: "/settings/page",
        method: "PUT",
        body: toServer({ ...taste, ...to }, live.data),
      });
  };
  const first =
    home.kind === "airflow"
      ? { value: "host", name: "As chosen in Airflow" }
      : { value: "local", name: zoneLabel("local") };
  return (
    <Stack gap="4">
      <HStack gap="8" align="start" wrap="wrap">
        <Field.Root width="auto">
          <Field.Label>Time zone</Field.Label>
          <NativeSelect.Root size="sm" width="72">
            <NativeSelect.Field
              value={home.kind === "alone" && taste.zone === "host" ? "local" : taste.zone}
              onChange={(event) => set({ zone: event.target.value })}
            >
              <option value={first.value}>{first.name}</option>
              {home.kind === "airflow" && <option value="local">{zoneLabel("local")}</option>}
              {names.map((name) => (
                <option key={name} value={name}>
                  {zoneLabel(name)}
                </option>
              ))}
            </NativeSelect.Field>
            <NativeSelect.Indicator />
          </NativeSelect.Root>
          <Field.HelperText data-testid="zone-now">
            Now it is {exactWithZone(now, taste.shownZone)}
          </Field.HelperText>
        </Field.Root>
        <RadioGroup.Root
          value={taste.density}
          onValueChange={({ value }) =>
            set({ density: value === "compact" ? "compact" : "normal" })
          }
          size="sm"
          aria-label="Density of tables"
        >
          <Text fontSize="sm" fontWeight="medium" mb="2">
            Density of tables
          </Text>
          <Stack gap="2">
            <Choice value="normal" text="Normal" />
            <Choice value="compact" text="Compact: more rows on the screen" />
          </Stack>
        </RadioGroup.Root>
      </HStack>
      {change.error && (
        <Notice kind="warning" title="Kept in this browser only">
          {change.error.message}
        </Notice>
      )}
    </Stack>
  );
}
