/** What all charts share: a picture with words, axes and tooltips in the host's colours. */

import { Box, Text } from "@chakra-ui/react";
import type { ReactElement, ReactNode } from "react";
import { ResponsiveContainer } from "recharts";

import { useColours } from "./colours";

/** A chart of a fixed height and the width there is. label: what it says, for who cannot see it. */
export function ChartFrame({
  label,
  height = 220,
  children,
}: {
  label: string;
  height?: number;
  children: ReactElement;
}) {
  return (
    <Box role="img" aria-label={label} width="100%" height={`${height}px`} fontSize="xs">
      <ResponsiveContainer width="100%" height={height} initialDimension={{ width: 600, height }}>
        {children}
      </ResponsiveContainer>
    </Box>
  );
}

/** Properties of an axis and of the grid behind a chart. */
export function useAxis() {
  const colours = useColours(["fg.muted", "border"]);
  return {
    axis: {
      stroke: colours["border"],
      tick: { fill: colours["fg.muted"], fontSize: 12 },
      tickLine: false,
    },
    grid: { stroke: colours["border"], strokeDasharray: "2 4", vertical: false },
  };
}

/** The box beside the pointer: a title and lines of "name: value". */
export function TipBox({
  title,
  lines,
}: {
  title: ReactNode;
  lines: { name: string; value: ReactNode; colour?: string }[];
}) {
  return (
    <Box bg="bg.panel" borderWidth="1px" borderRadius="md" boxShadow="md" px="3" py="2">
      <Text fontWeight="medium" mb="1">
        {title}
      </Text>
      {lines.map(({ name, value, colour }) => (
        <Text key={name} display="flex" gap="2" alignItems="center">
          {colour && (
            <Box as="span" boxSize="8px" borderRadius="2px" style={{ background: colour }} />
          )}
          <span>{name}</span>
          <Box as="span" ml="auto" pl="3" fontVariantNumeric="tabular-nums">
            {value}
          </Box>
        </Text>
      ))}
    </Box>
  );
}
