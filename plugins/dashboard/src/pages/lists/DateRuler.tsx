import { Box } from "@chakra-ui/react";
import { useImperativeHandle, useMemo, useState, type Ref } from "react";

import { useZone } from "../../app/me";
import { day } from "../../lib/time";
import { marks, type Mark } from "./spans";

const MARKS = {
  "& button": {
    display: "block",
    width: "full",
    textAlign: "start",
    px: "2",
    py: "1",
    borderStartWidth: "3px",
    borderColor: "transparent",
    color: "fg.muted",
    whiteSpace: "nowrap",
    cursor: "pointer",
    _hover: { bg: "bg.muted", color: "fg" },
  },
  "& button[aria-current]": {
    borderColor: "brand.solid",
    bg: "bg.muted",
    color: "fg",
    fontWeight: "semibold",
  },
};

export interface Ruler {
  /** Said of the time of the row that is now read first. */
  read: (time: number) => void;
}

/** The days (or months) of a list at its side: where one reads, and a way to each of them.
 * at: the time of the first row, until another is `read`; go: to what ended before a time. */
export function DateRuler({
  from,
  to,
  at,
  go,
  ref,
}: {
  from: number;
  to: number;
  at: number | null;
  ref?: Ref<Ruler>;
  go: (mark: Mark, newest: boolean) => void;
}) {
  const zone = useZone();
  const days = useMemo(() => marks(from, to, zone), [from, to, zone]);
  // Kept here: the page with its table need not be drawn anew for it.
  const [read, setRead] = useState<string | null>(null);
  useImperativeHandle(ref, () => ({ read: (time) => setRead(day(time, zone)) }), [zone]);
  const here = read ?? (at === null ? null : day(at, zone));
  return (
    <Box
      as="nav"
      aria-label="Days of the list"
      hideBelow="md"
      width="20"
      flexShrink="0"
      maxHeight="max(320px, calc(100dvh - 240px))"
      overflowY="auto"
      borderStartWidth="1px"
      fontSize="xs"
      css={MARKS}
    >
      {days.map((mark, index) => (
        <button
          key={mark.key}
          type="button"
          aria-current={here?.startsWith(mark.key) ? "date" : undefined}
          onClick={() => go(mark, index === 0)}
        >
          {mark.label}
        </button>
      ))}
    </Box>
  );
}
