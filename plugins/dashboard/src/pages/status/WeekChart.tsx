import { Box, HStack, Text } from "@chakra-ui/react";
import { useMemo } from "react";
import { Area, CartesianGrid, ComposedChart, Line, Tooltip, XAxis, YAxis } from "recharts";

import { useZone } from "../../app/me";
import { number } from "../../lib/format";
import { day, exact } from "../../lib/time";
import { useColours } from "../../parts/charts/colours";
import { ChartFrame, TipBox, useAxis } from "../../parts/charts/Frame";
import { Empty } from "../../parts/Empty";
import { midnights } from "./lights";

const GAP_MS = 2.5 * 1_800_000;

interface Point {
  at: number;
  waiting: number | null;
  running: number | null;
  cores: number | null;
}

/** Points of the chart; where nothing was measured for an hour the lines are interrupted. */
export function points(chart: readonly (readonly number[])[]): Point[] {
  const found: Point[] = [];
  for (const [at = 0, waiting = 0, running = 0, cores = 0] of chart) {
    const before = found.at(-1);
    if (before && at - before.at > GAP_MS)
      found.push({ at: before.at + 1, waiting: null, running: null, cores: null });
    found.push({ at, waiting, running, cores });
  }
  return found;
}

/** Waiting and running jobs and the pool's cores over the last seven days. */
export function WeekChart({ chart }: { chart: readonly (readonly number[])[] }) {
  const zone = useZone();
  const { axis, grid } = useAxis();
  const colours = useColours(["running.solid", "queued.solid", "fg.muted", "border"]);
  const data = useMemo(() => points(chart), [chart]);
  const first = data[0];
  const last = data.at(-1);
  if (!first || !last || data.length < 2)
    return <Empty title="No figures yet.">The first ones come within the half hour.</Empty>;
  const most = (of: "waiting" | "running") => Math.max(...data.map((point) => point[of] ?? 0));
  const days = midnights(first.at, last.at, (at) => day(at, zone));
  const words =
    `Jobs of the last seven days: ${number(last.running ?? 0)} run and ` +
    `${number(last.waiting ?? 0)} wait at the end; at most ${number(most("running"))} ran and ` +
    `${number(most("waiting"))} waited; ${number(last.cores ?? 0)} cores.`;
  return (
    <Box>
      <HStack gap="4" fontSize="sm" mb="1" wrap="wrap" aria-hidden>
        <Key colour="queued.solid" name="Waiting" dashed />
        <Key colour="running.solid" name="Running" />
        <Key colour="fg.muted" name="Cores of the pool" thin />
      </HStack>
      <ChartFrame label={words} height={240}>
        <ComposedChart data={data} margin={{ top: 8, right: 12, bottom: 0, left: 0 }}>
          <CartesianGrid {...grid} />
          <XAxis
            {...axis}
            dataKey="at"
            type="number"
            scale="time"
            domain={["dataMin", "dataMax"]}
            ticks={days}
            tickFormatter={(at: number) => dayName(at, zone)}
          />
          <YAxis {...axis} width={48} tickFormatter={(value: number) => number(value)} />
          <Tooltip
            isAnimationActive={false}
            content={({ payload }) => {
              const point = payload?.[0]?.payload as Point | undefined;
              if (!point || point.waiting === null) return null;
              return (
                <TipBox
                  title={exact(point.at, zone).slice(0, 16)}
                  lines={[
                    {
                      name: "waiting",
                      value: number(point.waiting),
                      colour: colours["queued.solid"],
                    },
                    {
                      name: "running",
                      value: number(point.running ?? 0),
                      colour: colours["running.solid"],
                    },
                    { name: "cores", value: number(point.cores ?? 0), colour: colours["fg.muted"] },
                  ]}
                />
              );
            }}
          />
          <Area
            dataKey="running"
            type="monotone"
            stroke={colours["running.solid"]}
            fill={colours["running.solid"]}
            fillOpacity={0.25}
            strokeWidth={2}
            isAnimationActive={false}
          />
          <Line
            dataKey="waiting"
            type="monotone"
            stroke={colours["queued.solid"]}
            strokeWidth={2}
            strokeDasharray="5 3"
            dot={false}
            isAnimationActive={false}
          />
          <Line
            dataKey="cores"
            type="stepAfter"
            stroke={colours["fg.muted"]}
            strokeWidth={1}
            dot={false}
            isAnimationActive={false}
          />
        </ComposedChart>
      </ChartFrame>
    </Box>
  );
}

function dayName(at: number, zone: string): string {
  return new Intl.DateTimeFormat(undefined, {
    timeZone: zone,
    weekday: "short",
    day: "numeric",
  }).format(at);
}

function Key({
  colour,
  name,
  dashed,
  thin,
}: {
  colour: string;
  name: string;
  dashed?: boolean;
  thin?: boolean;
}) {
  return (
    <HStack gap="2">
      <Box
        width="20px"
        borderTopWidth={thin ? "1px" : "3px"}
        borderStyle={dashed ? "dashed" : "solid"}
        borderColor={colour}
      />
      <Text>{name}</Text>
    </HStack>
  );
}
