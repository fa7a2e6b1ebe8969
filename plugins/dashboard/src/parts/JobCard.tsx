import { Box, chakra, Flex, HStack, Skeleton, Text } from "@chakra-ui/react";
import { ChevronDown, ChevronRight } from "lucide-react";
import { memo } from "react";

import { PageLink, pathOf } from "../app/links";
import { number } from "../lib/format";
import { isLive } from "../lib/states";
import { shownState, StandCell, titleOf } from "./jobColumns";
import type { EntryProps } from "./JobRow";
import { RowActions } from "./RowActions";
import { StateBadge } from "./StateBadge";
import { Ago, Span } from "./times";

/** All cards are as high, with the room between them. */
export const CARD_HEIGHT = 104;

/** A job where there is no room for a table: state, app, time and what can be done. */
export const JobCard = memo(function JobCard({
  entry,
  asked,
  stand,
  actions,
  selected,
  focused,
  onToggle,
  onOpen,
  isOpen,
}: EntryProps) {
  const { row, child } = entry;
  const look = {
    height: `${CARD_HEIGHT - 8}px`,
    mb: "2",
    ms: child ? "4" : "0",
    borderWidth: "1px",
    borderRadius: "md",
    px: "3",
    py: "2",
    overflow: "hidden",
  };
  if (entry.more !== undefined)
    return (
      <chakra.li {...look} height="auto">
        {entry.more === null ? (
          <Skeleton height="4" />
        ) : (
          <PageLink to={pathOf(row)}>and {number(entry.more)} more</PageLink>
        )}
      </chakra.li>
    );
  const title =
    row.label && row.index !== null && row.index !== undefined
      ? `${number(row.index + 1)}: ${row.label}`
      : titleOf(row);
  const state = shownState(row, asked);
  return (
    <chakra.li
      {...look}
      data-row={entry.key}
      data-status={row.status}
      tabIndex={focused ? 0 : -1}
      bg={selected ? "brand.subtle" : "bg"}
      _focusVisible={{ outline: "2px solid", outlineColor: "brand.focusRing" }}
    >
      <Flex justify="space-between" align="center" gap="2">
        <HStack gap="2" minWidth="0">
          {onToggle && !child && (
            <input
              type="checkbox"
              aria-label={`Select ${title} ${row.id.slice(0, 8)}`}
              checked={selected}
              onChange={() => onToggle(row.id)}
            />
          )}
          <StateBadge state={state} />
          {onOpen && row.is_batch && !child && (
            <chakra.button
              type="button"
              aria-expanded={isOpen}
              aria-label={`${isOpen ? "Close" : "Open"} ${title}`}
              onClick={() => onOpen(row.id)}
              p="1"
            >
              {isOpen ? (
                <ChevronDown size={16} aria-hidden />
              ) : (
                <ChevronRight size={16} aria-hidden />
              )}
            </chakra.button>
          )}
        </HStack>
        <Text fontSize="xs" color="fg.muted" whiteSpace="nowrap">
          {isLive(row.status) ? (
            row.running ? (
              <>
                for <Span from={row.running} />
              </>
            ) : (
              <>
                waits <Span from={row.created} />
              </>
            )
          ) : (
            <Ago at={row.finished} />
          )}
        </Text>
      </Flex>
      <PageLink to={pathOf(row)} display="block" truncate mt="1" fontWeight="medium" color="fg">
        <bdi>{title}</bdi>
      </PageLink>
      <Flex justify="space-between" align="center" gap="2" mt="1" fontSize="xs" color="fg.muted">
        <Box minWidth="0" flex="1">
          {row.error_line ? (
            <Text truncate color={row.status === "error" ? "failed.fg" : "fg.muted"}>
              <bdi>{row.error_line}</bdi>
            </Text>
          ) : isLive(row.status) ? (
            <StandCell row={row} facts={{ asked, stand }} />
          ) : (
            <Text truncate>
              <bdi>{row.narrative ?? ""}</bdi>
            </Text>
          )}
        </Box>
        {actions && <RowActions row={row} actions={actions} asked={asked !== undefined} />}
      </Flex>
    </chakra.li>
  );
});
