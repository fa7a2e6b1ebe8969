import { CircleX } from "lucide-react";
import { memo, useMemo, type CSSProperties, type MouseEvent } from "react";
import { Link } from "react-router-dom";

import { marksIn, type LogLine } from "../../lib/logstore";
import { LogText, type Inks } from "./LogText";
import type { FoundLine } from "./useFound";

export const ROW_PX = 20;

export interface RowProps {
  /** Its place in the list, for screen readers. */
  at: number;
  n: number;
  line: Pick<LogLine, "text" | "err" | "cut"> | undefined;
  time: string | null;
  timeWidth: string;
  found: FoundLine | undefined;
  /** The match that the reader stands on. */
  current: boolean;
  chosen: boolean;
  wrap: boolean;
  top: number;
  digits: number;
  inks: Inks;
  /** The address of this line. */
  search: string;
  onNumber: (n: number, event: MouseEvent) => void;
  onWhole: (n: number) => void;
  measure?: (element: Element | null) => void;
}

const NUMBER: CSSProperties = {
  flexShrink: 0,
  textAlign: "right",
  userSelect: "none",
  paddingInline: "8px",
};

/** A line of the log page: error sign, number (a link), time, text. */
export const LogRow = memo(function LogRow({
  at,
  n,
  line,
  time,
  timeWidth,
  found,
  current,
  chosen,
  wrap,
  top,
  digits,
  inks,
  search,
  onNumber,
  onWhole,
  measure,
}: RowProps) {
  const marks = useMemo(
    () => (found && line ? marksIn(line.text, found) : undefined),
    [found, line],
  );
  const err = line?.err ?? false;
  return (
    <div
      role="row"
      aria-rowindex={at + 1}
      aria-selected={chosen}
      data-index={at}
      data-line={n}
      ref={measure}
      style={{
        position: "absolute",
        top: 0,
        transform: `translateY(${top}px)`,
        display: "flex",
        minWidth: "100%",
        width: wrap ? "100%" : "max-content",
        height: wrap ? undefined : ROW_PX,
        minHeight: ROW_PX,
        lineHeight: `${ROW_PX}px`,
        borderLeft: `3px solid ${err ? inks.error : "transparent"}`,
        background: chosen || current ? inks.chosen : undefined,
      }}
    >
      <span role="cell" style={{ ...NUMBER, paddingInline: "2px 0", width: 18 }}>
        {err && (
          <CircleX
            size={13}
            color={inks.error}
            role="img"
            aria-label="error line"
            style={{ display: "inline", verticalAlign: "-2px" }}
          />
        )}
      </span>
      <span role="cell" style={{ ...NUMBER, minWidth: `calc(${digits}ch + 16px)` }}>
        <Link
          to={{ search }}
          replace
          onClick={(event) => onNumber(n, event)}
          style={{ color: inks.line, fontWeight: chosen ? 700 : undefined }}
        >
          {n}
        </Link>
      </span>
      {time !== null && (
        <span
          role="cell"
          style={{
            ...NUMBER,
            color: inks.line,
            width: timeWidth,
            textAlign: "left",
            whiteSpace: "nowrap",
          }}
        >
          {time}
        </span>
      )}
      <span
        role="cell"
        style={{
          flex: "1 1 auto",
          minWidth: 0,
          paddingRight: 12,
          whiteSpace: wrap ? "pre-wrap" : "pre",
          overflowWrap: wrap ? "anywhere" : undefined,
          tabSize: 8,
          outline: current ? `1px solid ${inks.line}` : undefined,
          outlineOffset: -1,
        }}
      >
        {line ? (
          <LogText text={line.text} marks={marks} inks={inks} />
        ) : (
          <span style={{ color: inks.line }}>…</span>
        )}
        {line?.cut && (
          <button
            type="button"
            onClick={() => onWhole(n)}
            style={{ textDecoration: "underline", marginLeft: 8, color: inks.fg.brand }}
          >
            show all {line.cut.toLocaleString()} letters
          </button>
        )}
      </span>
    </div>
  );
});
