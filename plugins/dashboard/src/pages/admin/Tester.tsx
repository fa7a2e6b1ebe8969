import { Box, HStack, Stack, Text } from "@chakra-ui/react";
import { ArrowRight, Check } from "lucide-react";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { query, withWords } from "../../lib/words";
import { FormField } from "../../parts/FormField";
import { applying, precedence, runTime, type Rule } from "./limits";

const PAUSE_MS = 400;
const RANKS = ["", "user and app", "app", "user", "everybody"];

/** "Effective for …": which run time a job of a user and an app would get now, and why. */
export function Tester({ rules }: { rules: readonly Rule[] }) {
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const [user, setUser] = useState(search.get("user") ?? me.user);
  const [app, setApp] = useState(search.get("app") ?? "");
  const asked = { user: search.get("user") ?? "", app: search.get("app") ?? "" };
  const wantedApp = app.trim();
  const wantedUser = wantedApp && user.trim();
  const told = asked.app === wantedApp && asked.user === wantedUser;
  useEffect(() => {
    if (told) return;
    const timer = setTimeout(
      () =>
        setSearch((now) => withWords(now, { user: wantedUser, app: wantedApp }), { replace: true }),
      PAUSE_MS,
    );
    return () => clearTimeout(timer);
  }, [told, wantedUser, wantedApp, setSearch]);
  const live = useLive<Answer<"Effective">>(
    asked.user && asked.app ? `/limits/effective${query(asked)}` : null,
  );
  const found = asked.app ? applying(rules, asked.user, asked.app) : [];
  return (
    <Stack gap="3">
      <HStack gap="4" align="start" wrap="wrap">
        <FormField label="User" width="44" value={user} onValue={setUser} autoComplete="off" />
        <FormField
          label="App"
          width="72"
          value={app}
          onValue={setApp}
          placeholder="Module.method"
          autoComplete="off"
          error={live.error && asked.app ? live.error.message : null}
        />
      </HStack>
      {live.data && !live.error && asked.app && (
        <Box
          borderWidth="1px"
          borderLeftWidth="4px"
          borderLeftColor="brand.solid"
          borderRadius="md"
          px="4"
          py="3"
          data-testid="effective"
        >
          <HStack gap="2" wrap="wrap">
            <span>
              <bdi>{live.data.user}</bdi>’s <bdi>{live.data.app}</bdi>
            </span>
            <ArrowRight size={16} aria-hidden />
            <Text as="span" fontWeight="semibold" fontSize="lg">
              {live.data.seconds === null ? "no limit" : runTime(live.data.seconds)}
            </Text>
          </HStack>
          <Text fontSize="sm" color="fg.muted" overflowWrap="anywhere">
            {live.data.rule ?? "No rule is for it."}
          </Text>
          {found.length > 1 && (
            <Stack as="ol" gap="1" mt="2" fontSize="sm" listStyleType="none">
              {found.map((rule, at) => (
                <HStack as="li" key={`${rule.app} ${rule.user}`} color={at ? "fg.muted" : "fg"}>
                  <Box width="4" flexShrink="0">
                    {at === 0 && <Check size={14} aria-label="counts" />}
                  </Box>
                  {precedence(rule)}. {RANKS[precedence(rule)]}: {runTime(rule.seconds)}
                  {at > 0 && " (does not count)"}
                </HStack>
              ))}
            </Stack>
          )}
        </Box>
      )}
    </Stack>
  );
}
