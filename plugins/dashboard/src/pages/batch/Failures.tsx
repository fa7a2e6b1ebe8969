/** Why children failed: the same messages together, the most frequent first. */

import { Box, Button, HStack, Skeleton, Stack, Text } from "@chakra-ui/react";
import { Filter, FilterX } from "lucide-react";

import { PageLink } from "../../app/links";
import type { Live } from "../../app/live";
import type { Answer } from "../../app/types";
import { number, plural } from "../../lib/format";
import { Trouble } from "../../parts/Freshness";

export type Failure = Answer<"Failures">["groups"][number];

/** The words that list the children of a group. */
export function wordsOfFailure(group: Failure): Record<string, string | null> {
  return group.sample === null
    ? { status: "error", error: String(group.code ?? 0), failure: null }
    : { status: "error", failure: group.message, error: null };
}

/** The groups as switches of the table's filter. */
export function Failures({
  live,
  chosen,
  onChoose,
}: {
  live: Live<Answer<"Failures">>;
  chosen: (group: Failure) => boolean;
  onChoose: (group: Failure | null) => void;
}) {
  const { data } = live;
  if (!data) return live.error ? <Trouble live={live} /> : <Skeleton height="28" />;
  return (
    <Stack as="ul" listStyleType="none" gap="1" aria-label="Failures by their first line">
      {data.groups.map((group) => {
        const on = chosen(group);
        const [example] = group.ids;
        return (
          <HStack
            as="li"
            key={`${group.code} ${group.message}`}
            gap="3"
            px="2"
            py="1"
            borderLeftWidth="4px"
            borderLeftColor={on ? "failed.solid" : "border"}
            bg={on ? "bg.muted" : undefined}
            align="start"
          >
            <Button
              variant="plain"
              size="sm"
              flex="1"
              minWidth="0"
              height="auto"
              px="0"
              py="1"
              justifyContent="start"
              textAlign="start"
              whiteSpace="normal"
              fontWeight="normal"
              aria-pressed={on}
              title={on ? "Show all children" : "Show these children only"}
              onClick={() => onChoose(on ? null : group)}
            >
              {on ? <FilterX size={14} aria-hidden /> : <Filter size={14} aria-hidden />}
              <Box minWidth="0">
                <Text as="span" fontWeight="semibold" whiteSpace="nowrap">
                  {number(group.count)} ×{" "}
                </Text>
                <Text as="span" overflowWrap="anywhere">
                  <bdi>{group.sample ?? group.message}</bdi>
                </Text>
                {group.count > 1 && group.sample !== null && group.sample !== group.message && (
                  <Text as="span" fontSize="sm">
                    {" "}
                    and alike
                  </Text>
                )}
                {group.sample !== null && (
                  <Text as="span" color="fg.muted" fontSize="xs">
                    {" "}
                    {group.code_words}
                  </Text>
                )}
              </Box>
            </Button>
            {example && (
              <PageLink to={`/jobs/${example}`} fontSize="sm" py="1" flexShrink="0">
                {group.count === 1 ? "Job" : "Example"}
              </PageLink>
            )}
          </HStack>
        );
      })}
      {data.more > 0 && (
        <Text as="li" color="fg.muted" fontSize="sm">
          and {plural(data.more, "more message")}
        </Text>
      )}
    </Stack>
  );
}
