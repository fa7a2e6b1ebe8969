/** Tables of some hundred rows at most, which become cards on a phone. */

import { Box, Table, VisuallyHidden } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { useTaste } from "../app/me";

export interface Column<Row> {
  name: string;
  /** Instead of the name in the head: a button that sorts, say. */
  head?: ReactNode;
  sorted?: "ascending" | "descending";
  /** The head is for screen readers only (a column of buttons). */
  quiet?: boolean;
  numeric?: boolean;
  width?: string;
  cell: (row: Row) => ReactNode;
}

// On a phone the parts of the table are laid out as blocks, which takes their meaning away from
// screen readers; the roles bring it back.
const ASIDE = { base: "block", sm: "table-row-group" } as const;

/** Rows under named columns. `below`: what stands under a row over its whole width, if anything. */
export function Rows<Row>({
  label,
  columns,
  rows,
  keyOf,
  below,
}: {
  /** What the table is of, for screen readers. */
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  below?: (row: Row) => ReactNode;
}) {
  const { density } = useTaste();
  const py = density === "compact" ? "0.5" : "1.5";
  return (
    <Box overflowX="auto">
      <Table.Root
        size="sm"
        role="table"
        aria-label={label}
        display={{ base: "block", sm: "table" }}
        bg="transparent"
      >
        <Table.Header role="rowgroup" display={{ base: "none", sm: "table-header-group" }}>
          <Table.Row role="row" bg="transparent">
            {columns.map((column) => (
              <Table.ColumnHeader
                key={column.name}
                role="columnheader"
                textAlign={column.numeric ? "end" : "start"}
                width={column.width}
                aria-sort={column.sorted}
                color="fg.muted"
                fontWeight="medium"
                py={py}
              >
                {column.quiet ? (
                  <VisuallyHidden>{column.name}</VisuallyHidden>
                ) : (
                  (column.head ?? column.name)
                )}
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body role="rowgroup" display={ASIDE}>
          {rows.map((row) => {
            const under = below?.(row);
            return [
              <Table.Row
                key={keyOf(row)}
                role="row"
                bg="transparent"
                display={{ base: "block", sm: "table-row" }}
                borderWidth={{ base: "1px", sm: "0" }}
                borderRadius={{ base: "md", sm: "none" }}
                mb={{ base: "2", sm: "0" }}
                py={{ base: "1", sm: "0" }}
              >
                {columns.map((column) => (
                  <Table.Cell
                    key={column.name}
                    role="cell"
                    data-name={column.quiet ? "" : column.name}
                    display={{ base: "flex", sm: "table-cell" }}
                    justifyContent="space-between"
                    gap="4"
                    borderBottomWidth={{ base: "0", sm: "1px" }}
                    textAlign={{ base: "end", sm: column.numeric ? "end" : "start" }}
                    fontVariantNumeric={column.numeric ? "tabular-nums" : undefined}
                    overflowWrap="anywhere"
                    py={py}
                    _before={{
                      content: { base: "attr(data-name)", sm: "none" },
                      color: "fg.muted",
                      textAlign: "start",
                      flexShrink: "0",
                    }}
                  >
                    {/* One box, so that its parts stay together beside the name. */}
                    <Box minWidth="0">{column.cell(row)}</Box>
                  </Table.Cell>
                ))}
              </Table.Row>,
              under && (
                <Table.Row
                  key={`${keyOf(row)} below`}
                  role="row"
                  bg="transparent"
                  display={{ base: "block", sm: "table-row" }}
                >
                  <Table.Cell
                    role="cell"
                    colSpan={columns.length}
                    display={{ base: "block", sm: "table-cell" }}
                    p={{ base: "0", sm: "3" }}
                  >
                    {under}
                  </Table.Cell>
                </Table.Row>
              ),
            ];
          })}
        </Table.Body>
      </Table.Root>
    </Box>
  );
}
