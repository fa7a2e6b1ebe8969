import { Box, chakra, HStack, Skeleton, Table, Text } from "@chakra-ui/react";
import { ChevronDown, ChevronRight } from "lucide-react";
import { memo } from "react";

import { pathOf, PageLink } from "../app/links";
import { number } from "../lib/format";
import type { Entry } from "./batchRows";
import type { JobWays } from "./JobActions";
import { column, titleOf, type ColumnName, type Stand } from "./jobColumns";
import { RowActions } from "./RowActions";

export interface EntryProps {
  entry: Entry;
  asked: number | undefined;
  stand: Stand | undefined;
  actions: JobWays | undefined;
  selected: boolean;
  focused: boolean;
  onToggle: ((id: string) => void) | undefined;
  onOpen: ((id: string) => void) | undefined;
  isOpen: boolean;
  height: number;
}

/** One row of a table of jobs; drawn anew only if something of it has changed. */
export const JobRow = memo(function JobRow({
  columns,
  index,
  ...given
}: EntryProps & { columns: readonly ColumnName[]; index: number }) {
  const { entry, asked, stand, actions, selected, focused, onToggle, onOpen, isOpen, height } =
    given;
  const { row, child } = entry;
  if (entry.more !== undefined)
    return (
      <Table.Row aria-rowindex={index} height={`${height}px`} bg="bg.subtle">
        <Table.Cell
          colSpan={columns.length + (onToggle ? 1 : 0) + (actions ? 1 : 0)}
          py="0"
          ps="10"
        >
          {entry.more === null ? (
            <Skeleton height="4" width="60" />
          ) : (
            <PageLink to={pathOf(row)} fontSize="sm">
              and {number(entry.more)} more
            </PageLink>
          )}
        </Table.Cell>
      </Table.Row>
    );
  return (
    <Table.Row
      data-row={entry.key}
      data-status={row.status}
      aria-rowindex={index}
      aria-selected={onToggle ? selected : undefined}
      tabIndex={focused ? 0 : -1}
      height={`${height}px`}
      bg={selected ? "brand.subtle" : child ? "bg.subtle" : "bg"}
      _hover={{ bg: "bg.muted" }}
      _focusVisible={{
        outline: "2px solid",
        outlineColor: "brand.focusRing",
        outlineOffset: "-2px",
      }}
    >
      {onToggle && (
        <td>
          {!child && (
            <input
              type="checkbox"
              aria-label={`Select ${titleOf(row)} ${row.id.slice(0, 8)}`}
              checked={selected}
              onChange={() => onToggle(row.id)}
            />
          )}
        </td>
      )}
      {columns.map((name, at) => {
        const { align, cell } = column(name);
        const content = cell(row, { asked, stand });
        return (
          <td
            key={name}
            style={{ textAlign: align, paddingInlineStart: child && at === 0 ? 24 : undefined }}
          >
            {name === "app" && onOpen && row.is_batch && !child ? (
              <HStack gap="1" minWidth="0">
                <chakra.button
                  type="button"
                  aria-expanded={isOpen}
                  aria-label={`${isOpen ? "Close" : "Open"} ${titleOf(row)}`}
                  onClick={() => onOpen(row.id)}
                  cursor="pointer"
                  borderRadius="sm"
                  p="1"
                  _hover={{ bg: "bg.emphasized" }}
                >
                  {isOpen ? (
                    <ChevronDown size={14} aria-hidden />
                  ) : (
                    <ChevronRight size={14} aria-hidden />
                  )}
                </chakra.button>
                <Box minWidth="0" flex="1">
                  {content}
                </Box>
              </HStack>
            ) : child && name === "narrative" ? (
              <Text as="span" color="fg.muted" truncate display="block" title={row.label ?? ""}>
                <bdi>{row.label ?? ""}</bdi>
              </Text>
            ) : (
              content
            )}
          </td>
        );
      })}
      {actions && (
        <td>
          <RowActions row={row} actions={actions} asked={asked !== undefined} />
        </td>
      )}
    </Table.Row>
  );
});
