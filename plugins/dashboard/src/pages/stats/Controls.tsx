/** What the statistics are of: a span of days, the length of a bar, one method or all. */

import { Button, Flex, HStack, Input, NativeSelect, Text } from "@chakra-ui/react";

import { serverNow } from "../../lib/clock";
import { dayOf, type Step } from "./spans";

const PRESETS = [
  { name: "Week", days: 7 },
  { name: "30 days", days: 30 },
  { name: "90 days", days: 90 },
  { name: "Year", days: 365 },
] as const;
const STEPS: Step[] = ["day", "week", "month"];

export interface Asked {
  from: string;
  to: string;
  by: Step;
  app: string | null;
  scope: "mine" | "all";
}

/** The days of a preset, up to today. */
export function lastDays(days: number, now = serverNow()): { from: string; to: string } {
  return { from: dayOf(now - (days - 1) * 86_400_000), to: dayOf(now) };
}

/** See the module. apps: those to choose from. */
export function Controls({
  asked,
  apps,
  mayAll,
  onChange,
}: {
  asked: Asked;
  apps: readonly string[];
  mayAll: boolean;
  onChange: (words: Record<string, string | null>) => void;
}) {
  const options = asked.app && !apps.includes(asked.app) ? [asked.app, ...apps] : apps;
  return (
    <Flex gap="3" wrap="wrap" align="end" mb="4">
      <HStack gap="1" role="group" aria-label="Span">
        {PRESETS.map(({ name, days }) => {
          const span = lastDays(days);
          const on = span.from === asked.from && span.to === asked.to;
          return (
            <Button
              key={name}
              size="xs"
              variant={on ? "solid" : "outline"}
              aria-pressed={on}
              onClick={() => onChange({ from: span.from, to: null, by: null })}
            >
              {name}
            </Button>
          );
        })}
      </HStack>
      <HStack gap="2">
        <Input
          type="date"
          size="xs"
          width="34"
          aria-label="First day, UTC"
          value={asked.from}
          max={asked.to}
          onChange={(event) => onChange({ from: event.target.value || null })}
        />
        <Text fontSize="sm">to</Text>
        <Input
          type="date"
          size="xs"
          width="34"
          aria-label="Last day, UTC"
          value={asked.to}
          min={asked.from}
          onChange={(event) => onChange({ to: event.target.value || null })}
        />
      </HStack>
      <HStack gap="1" role="group" aria-label="One bar is">
        {STEPS.map((step) => (
          <Button
            key={step}
            size="xs"
            variant={asked.by === step ? "solid" : "outline"}
            aria-pressed={asked.by === step}
            onClick={() => onChange({ by: step })}
          >
            {step === "day" ? "Days" : step === "week" ? "Weeks" : "Months"}
          </Button>
        ))}
      </HStack>
      <NativeSelect.Root size="xs" width="56">
        <NativeSelect.Field
          aria-label="Method"
          value={asked.app ?? ""}
          onChange={(event) => onChange({ app: event.target.value || null })}
        >
          <option value="">All methods</option>
          {options.map((app) => (
            <option key={app} value={app}>
              {app}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
      {mayAll && (
        <HStack gap="1" role="group" aria-label="Whose jobs">
          {(["mine", "all"] as const).map((scope) => (
            <Button
              key={scope}
              size="xs"
              variant={asked.scope === scope ? "solid" : "outline"}
              aria-pressed={asked.scope === scope}
              onClick={() => onChange({ scope: scope === "mine" ? null : scope })}
            >
              {scope === "mine" ? "My jobs" : "Everybody's"}
            </Button>
          ))}
        </HStack>
      )}
    </Flex>
  );
}
