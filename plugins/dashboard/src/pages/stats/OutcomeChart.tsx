/** How runs ended, bar by bar: completed, cancelled, failed. Each part leads to its jobs. */

import { Box, Flex, HStack, Text } from "@chakra-ui/react";
import { useId, useState } from "react";
import { Bar, BarChart, CartesianGrid, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";

import { useAddress, useGo } from "../../app/links";
import { number } from "../../lib/format";
import { look } from "../../lib/states";
import { TipBox, useAxis } from "../../parts/charts/Frame";
import { useColours } from "../../parts/charts/colours";
import {
  barName,
  jobsPath,
  lastOf,
  OUTCOMES,
  type Bar as OneBar,
  type Outcome,
  type Sought,
  type Step,
} from "./spans";

const HEIGHT = 260;

interface Part {
  x?: number;
  y?: number;
  width?: number;
  height?: number;
  payload?: OneBar;
}

/** See the module. */
export function OutcomeChart({
  bars,
  by,
  last,
  sought,
}: {
  bars: readonly OneBar[];
  by: Step;
  last: string;
  sought: Pick<Sought, "scope" | "app">;
}) {
  const id = useId().replaceAll(":", "");
  const { axis, grid } = useAxis();
  const colours = useColours([
    "success.solid",
    "removed.solid",
    "failed.solid",
    "bg",
    "fg",
    "bg.muted",
  ]);
  const fills: Record<Outcome, string> = {
    completed: colours["success.solid"],
    terminated: `url(#${id}-cancelled)`,
    error: `url(#${id}-failed)`,
  };
  const plain: Record<Outcome, string> = {
    completed: colours["success.solid"],
    terminated: colours["removed.solid"],
    error: colours["failed.solid"],
  };
  return (
    <Box>
      <Box
        role="group"
        aria-label="Runs by how they ended; each part leads to its jobs"
        fontSize="xs"
      >
        <ResponsiveContainer
          width="100%"
          height={HEIGHT}
          initialDimension={{ width: 600, height: HEIGHT }}
        >
          <BarChart
            data={[...bars]}
            margin={{ top: 8, right: 8, bottom: 0, left: 0 }}
            accessibilityLayer={false}
          >
            <defs>
              <Stripes
                id={`${id}-failed`}
                ground={plain.error}
                line={colours.bg}
                turn={45}
                apart={6}
              />
              <Stripes
                id={`${id}-cancelled`}
                ground={plain.terminated}
                line={colours.bg}
                turn={-45}
                apart={4}
              />
            </defs>
            <CartesianGrid {...grid} />
            <XAxis
              dataKey="start"
              tickFormatter={(start: string) => barName(start, by)}
              minTickGap={24}
              {...axis}
            />
            <YAxis allowDecimals={false} width={48} {...axis} />
            <Tooltip
              cursor={{ fill: colours["bg.muted"] }}
              isAnimationActive={false}
              content={({ active, payload }) => {
                const bar = payload[0]?.payload as OneBar | undefined;
                if (!active || !bar) return null;
                return (
                  <TipBox
                    title={periodName(bar.start, by, last)}
                    lines={[...OUTCOMES].reverse().map((outcome) => ({
                      name: look(outcome).word,
                      value: number(bar[outcome]),
                      colour: plain[outcome],
                    }))}
                  />
                );
              }}
            />
            {OUTCOMES.map((outcome) => (
              <Bar
                key={outcome}
                dataKey={outcome}
                stackId="runs"
                isAnimationActive={false}
                maxBarSize={48}
                shape={(part: Part) => (
                  <PartLink
                    part={part}
                    outcome={outcome}
                    fill={fills[outcome]}
                    ring={colours.fg}
                    to={(start) =>
                      jobsPath(start, lastOf(start, by, last), { ...sought, status: outcome })
                    }
                    name={(start) => periodName(start, by, last)}
                  />
                )}
              />
            ))}
          </BarChart>
        </ResponsiveContainer>
      </Box>
      <HStack gap="4" fontSize="sm" mt="1" justify="center" aria-hidden>
        {OUTCOMES.map((outcome) => (
          <Flex key={outcome} align="center" gap="2">
            <svg width="14" height="14">
              <rect width="14" height="14" rx="2" style={{ fill: fills[outcome] }} />
            </svg>
            <Text>{look(outcome).word}</Text>
          </Flex>
        ))}
      </HStack>
    </Box>
  );
}

function periodName(start: string, by: Step, last: string): string {
  const end = lastOf(start, by, last);
  return by === "week" && end !== start
    ? `${barName(start, "day")} to ${barName(end, "day")}`
    : barName(start, by);
}

function Stripes({
  id,
  ground,
  line,
  turn,
  apart,
}: {
  id: string;
  ground: string;
  line: string;
  turn: number;
  apart: number;
}) {
  return (
    <pattern
      id={id}
      width={apart}
      height={apart}
      patternUnits="userSpaceOnUse"
      patternTransform={`rotate(${turn})`}
    >
      <rect width={apart} height={apart} style={{ fill: ground }} />
      <rect width="1.5" height={apart} opacity="0.55" style={{ fill: line }} />
    </pattern>
  );
}

function PartLink({
  part: { x = 0, y = 0, width = 0, height = 0, payload },
  outcome,
  fill,
  ring,
  to,
  name,
}: {
  part: Part;
  outcome: Outcome;
  fill: string;
  ring: string;
  to: (start: string) => string;
  name: (start: string) => string;
}) {
  const address = useAddress();
  const go = useGo();
  const [focused, setFocused] = useState(false);
  if (!payload || !payload[outcome] || height <= 0) return null;
  const path = to(payload.start);
  const words = `${name(payload.start)}: ${number(payload[outcome])} ${look(outcome).word.toLowerCase()}`;
  return (
    <a
      href={address(path)}
      aria-label={words}
      style={{ outline: "none", cursor: "pointer" }}
      onFocus={() => setFocused(true)}
      onBlur={() => setFocused(false)}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        go(path);
      }}
    >
      <rect
        x={x}
        y={y}
        width={width}
        height={Math.max(1, height)}
        style={{ fill, stroke: focused ? ring : "none", strokeWidth: 2 }}
      />
    </a>
  );
}
