/** The look of rows and cards of jobs, said once for all of them.
 *
 * A table has a thousand cells and draws a few rows in each frame while it is scrolled. A styled
 * element costs ten times a plain one, so rows are made of plain elements with these classes.
 */

import type { SystemStyleObject } from "@chakra-ui/react";

const RING = { outline: "2px solid", outlineColor: "brand.focusRing", borderRadius: "sm" };
const BUTTON: SystemStyleObject = {
  display: "inline-flex",
  alignItems: "center",
  justifyContent: "center",
  cursor: "pointer",
  borderRadius: "sm",
  flexShrink: "0",
  _hover: { bg: "bg.emphasized" },
  _focusVisible: RING,
};

export const ROWS: SystemStyleObject = {
  // Rows move by what happens to jobs; what one reads must not move with them.
  overflowAnchor: "none",
  // Not the rows that stand for those not drawn: what has a ground is painted anew when it grows.
  "& tbody tr[data-row]:hover": { bg: "bg.muted" },
  "& tbody tr.child": { bg: "bg.subtle" },
  "& tbody tr.chosen": { bg: "brand.subtle" },
  "& tbody tr:focus-visible": { ...RING, outlineOffset: "-2px" },
  // Collapsed borders belong to the whole table: it would be painted anew with every new row.
  "& table": {
    width: "full",
    tableLayout: "fixed",
    borderCollapse: "separate",
    borderSpacing: "0",
    fontSize: "sm",
    textAlign: "start",
  },
  "& thead": { position: "sticky", top: "0", zIndex: "1", bg: "bg.subtle" },
  "& thead tr": { height: "36px" },
  "& th, & td": { px: "2", py: "0", borderBottomWidth: "1px", whiteSpace: "nowrap" },
  "& th": { textAlign: "start", fontWeight: "medium" },
  "& td": { fontVariantNumeric: "tabular-nums" },
  "& input[type=checkbox]": { verticalAlign: "middle" },
  "& .cut": {
    display: "block",
    minWidth: "0",
    overflow: "hidden",
    textOverflow: "ellipsis",
    whiteSpace: "nowrap",
  },
  "& .line": { display: "flex", alignItems: "center", gap: "2", minWidth: "0" },
  "& .line.end": { justifyContent: "flex-end", gap: "1" },
  // What does not fit into the line goes below it, unseen: no name is shown by half.
  "& .line.whole": { flexWrap: "wrap", height: "1lh", overflow: "hidden" },
  "& .line .line": { maxWidth: "full" },
  "& .rest": { flex: "1", minWidth: "0" },
  "& .bar": { flex: "1", minWidth: "12" },
  "& .icon": { flexShrink: "0" },
  "& .small": { fontSize: "xs", whiteSpace: "nowrap" },
  "& .mono": { fontFamily: "mono" },
  "& .quiet": { color: "fg.muted" },
  "& .failed": { color: "failed.fg" },
  "& .warned": { color: "warning.fg" },
  "& a": {
    _hover: { textDecoration: "underline", textUnderlineOffset: "3px" },
    _focusVisible: { ...RING, outlineOffset: "-2px" },
  },
  "& .open": { ...BUTTON, p: "1" },
  "& .acts": { display: "flex", justifyContent: "flex-end" },
  "& .acts > *": { ...BUTTON, width: "6", height: "6" },
  "& .acts > .danger": { color: "danger.fg" },
};
