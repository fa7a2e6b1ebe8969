import { Box, chakra } from "@chakra-ui/react";
import { useMemo } from "react";

import { useZone } from "../../app/me";
import { day } from "../../lib/time";
import { marks, type Mark } from "./spans";

/** The days (or months) of a list at its side: where one reads, and a way to each of them.
 * at: the time of the row that is read; go: to what ended before a time. */
export function DateRuler({
  from,
  to,
  at,
  go,
}: {
  from: number;
  to: number;
  at: number | null;
  go: (mark: Mark, newest: boolean) => void;
}) {
  const zone = useZone();
  const days = useMemo(() => marks(from, to, zone), [from, to, zone]);
  const here = at === null ? null : day(at, zone);
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
    >
      {days.map((mark, index) => {
        const current = here?.startsWith(mark.key) ?? false;
        return (
          <chakra.button
            key={mark.key}
            type="button"
            display="block"
            width="full"
            textAlign="start"
            px="2"
            py="1"
            borderStartWidth="3px"
            borderColor={current ? "brand.solid" : "transparent"}
            bg={current ? "bg.muted" : undefined}
            color={current ? "fg" : "fg.muted"}
            fontWeight={current ? "semibold" : "normal"}
            whiteSpace="nowrap"
            cursor="pointer"
            _hover={{ bg: "bg.muted", color: "fg" }}
            aria-current={current ? "date" : undefined}
            onClick={() => go(mark, index === 0)}
          >
            {mark.label}
          </chakra.button>
        );
      })}
    </Box>
  );
}
