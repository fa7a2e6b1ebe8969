import { Box, chakra, Flex, Heading, Skeleton, Text } from "@chakra-ui/react";

import { memo } from "react";

import { useLive } from "../../app/live";
import type { PageWords } from "../../app/pageWords";
import type { Answer } from "../../app/types";
import { bounded, number } from "../../lib/format";
import { stale } from "../../lib/stale";
import { look } from "../../lib/states";
import { query } from "../../lib/words";
import { StateIcon } from "../../parts/StateBadge";

const SHOWN = 8;
const OF = [
  { word: "status", label: "State" },
  { word: "group", label: "Client group" },
  { word: "app", label: "App" },
  { word: "user", label: "User" },
] as const;

/** What a filter's jobs are made of, with counts; each value filters by it. */
export const Facets = memo(function Facets({
  filter,
  paused,
}: {
  filter: PageWords;
  paused: boolean;
}) {
  const { search, words, change } = filter;
  const scheduler = search.get("scheduler");
  const live = useLive<Answer<"Facets">>(`/jobs/facets${query({ ...words, scheduler })}`, {
    every: paused ? null : 30_000,
    keep: true,
  });
  return (
    <Box
      as="aside"
      aria-label="What these jobs are"
      hideBelow="lg"
      width="56"
      flexShrink="0"
      fontSize="sm"
      {...stale(live.failedAt)}
    >
      {live.loading && <Skeleton height="80" />}
      {live.data &&
        OF.map(({ word, label }) => {
          const counts = live.data?.[word] ?? {};
          const values = Object.entries(counts).sort((a, b) => b[1] - a[1]);
          const set = words[word];
          return (
            <Box key={word} mb="4">
              <Heading as="h2" size="xs" mb="1" color="fg.muted">
                {label}
              </Heading>
              {values.slice(0, SHOWN).map(([value, count]) => {
                const chosen = set === value;
                return (
                  <chakra.button
                    key={value}
                    type="button"
                    display="flex"
                    width="full"
                    gap="2"
                    alignItems="center"
                    px="2"
                    py="0.5"
                    borderRadius="sm"
                    cursor="pointer"
                    textAlign="start"
                    bg={chosen ? "bg.emphasized" : undefined}
                    fontWeight={chosen ? "semibold" : undefined}
                    _hover={{ bg: "bg.muted" }}
                    aria-pressed={chosen}
                    onClick={() => change({ [word]: chosen ? null : value })}
                  >
                    {word === "status" && (
                      <Box color={`${look(value).colour}.fg`}>
                        <StateIcon state={value} />
                      </Box>
                    )}
                    <Text as="span" truncate flex="1" title={value}>
                      <bdi>{word === "status" ? look(value).word : value}</bdi>
                    </Text>
                    <Text as="span" color="fg.muted" fontVariantNumeric="tabular-nums">
                      {number(count)}
                    </Text>
                  </chakra.button>
                );
              })}
              {values.length > SHOWN && (
                <Text px="2" fontSize="xs" color="fg.muted">
                  and {number(values.length - SHOWN)} more
                </Text>
              )}
              {!values.length && (
                <Text px="2" color="fg.muted">
                  –
                </Text>
              )}
            </Box>
          );
        })}
      {live.data && !live.data.counted.exact && (
        <Flex px="2" fontSize="xs" color="fg.muted">
          Of the newest {bounded({ ...live.data.counted, exact: true })}.
        </Flex>
      )}
    </Box>
  );
});
