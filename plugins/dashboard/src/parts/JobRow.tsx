import { Skeleton } from "@chakra-ui/react";
import { ChevronDown, ChevronRight } from "lucide-react";
import { memo } from "react";

import { pathOf, RowLink } from "../app/links";
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
      <tr aria-rowindex={index} style={{ height }} className="child">
        <td
          colSpan={columns.length + (onToggle ? 1 : 0) + (actions ? 1 : 0)}
          style={{ paddingInlineStart: 40 }}
        >
          {entry.more === null ? (
            <Skeleton height="4" width="60" />
          ) : (
            <RowLink to={pathOf(row)}>and {number(entry.more)} more</RowLink>
          )}
        </td>
      </tr>
    );
  return (
    <tr
      data-row={entry.key}
      data-status={row.status}
      aria-rowindex={index}
      aria-selected={onToggle ? selected : undefined}
      tabIndex={focused ? 0 : -1}
      style={{ height }}
      className={selected ? "chosen" : child ? "child" : undefined}
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
              <span className="line">
                <button
                  type="button"
                  className="open"
                  aria-expanded={isOpen}
                  aria-label={`${isOpen ? "Close" : "Open"} ${titleOf(row)}`}
                  onClick={() => onOpen(row.id)}
                >
                  {isOpen ? (
                    <ChevronDown size={14} aria-hidden />
                  ) : (
                    <ChevronRight size={14} aria-hidden />
                  )}
                </button>
                <span className="rest">{content}</span>
              </span>
            ) : child && name === "narrative" ? (
              <span className="cut quiet" title={row.label ?? ""}>
                <bdi>{row.label ?? ""}</bdi>
              </span>
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
    </tr>
  );
});
