import { Box, Flex, Text } from "@chakra-ui/react";

import { number } from "../lib/format";
import { BAR_ORDER, look } from "../lib/states";

/** Counts per state as one bar, from completed to failed; failed and cancelled are hatched, so
 * that the picture also works in grey. */
export function StackedBar({
  counts,
  height = "10px",
  numbers = false,
}: {
  counts: Record<string, number>;
  height?: string;
  numbers?: boolean;
}) {
  const shown = BAR_ORDER.map((state) => ({ state, count: counts[state] ?? 0 })).filter(
    ({ count }) => count > 0,
  );
  const words = shown.map(
    ({ state, count }) => `${number(count)} ${look(state).word.toLowerCase()}`,
  );
  return (
    <Box>
      <Flex
        role="img"
        aria-label={words.join(", ") || "nothing yet"}
        title={words.join(", ")}
        height={height}
        borderRadius="sm"
        overflow="hidden"
        bg="bg.muted"
        gap="1px"
      >
        {shown.map(({ state, count }) => (
          <Box
            key={state}
            flexGrow={count}
            flexBasis="0"
            minWidth="3px"
            bg={`${look(state).colour}.solid`}
            bgImage={
              state === "error"
                ? "repeating-linear-gradient(45deg, transparent 0 4px, rgba(255,255,255,.45) 4px 6px)"
                : state === "terminated"
                  ? "repeating-linear-gradient(-45deg, transparent 0 2px, rgba(255,255,255,.4) 2px 4px)"
                  : undefined
            }
          />
        ))}
      </Flex>
      {numbers && (
        <Flex wrap="wrap" gap="3" mt="1" fontSize="sm" aria-hidden>
          {shown.map(({ state, count }) => (
            <Text key={state} color={`${look(state).colour}.fg`}>
              {number(count)} {look(state).word.toLowerCase()}
            </Text>
          ))}
        </Flex>
      )}
    </Box>
  );
}
