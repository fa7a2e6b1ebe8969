/** When the steps of a batch waited and ran; bars of what goes on end at now. */

import { Box, Grid, HStack, Text } from "@chakra-ui/react";

import { useZone } from "../../app/me";
import { useNow } from "../../lib/clock";
import { look } from "../../lib/states";
import { clock, day, duration } from "../../lib/time";
import { ganttBars, type BatchPage } from "./words";

const WAITING =
  "repeating-linear-gradient(45deg, transparent 0 3px, var(--chakra-colors-bg) 3px 5px)";

/** The bars of all stages on one line of time, from the submission to the end or to now. */
export function Gantt({ batch }: { batch: BatchPage }) {
  const now = useNow();
  const zone = useZone();
  const bars = ganttBars(batch, now);
  const begun = Math.min(batch.created, ...bars.flatMap(({ queued }) => queued ?? []));
  const to = Math.max(batch.finished ?? now, begun + 1000);
  const share = (at: number) => Math.max(0, Math.min(1, (at - begun) / (to - begun)));
  const label = (at: number) =>
    day(begun, zone) === day(to, zone)
      ? clock(at, zone)
      : `${day(at, zone).slice(5)} ${clock(at, zone).slice(0, 5)}`;
  return (
    <Grid
      templateColumns="minmax(6em, max-content) 1fr"
      columnGap="3"
      rowGap="2"
      alignItems="center"
      fontSize="sm"
      mt="4"
      data-testid="gantt"
    >
      {bars.map(({ name, state, queued, running, end, live }) => {
        const waits = queued ?? running;
        const words =
          waits === null || end === null
            ? `${name}: not begun`
            : `${name}: waited ${duration((running ?? end) - waits)}` +
              (running === null ? "" : `, ran ${duration(end - running)}`) +
              (live ? " so far" : "");
        return [
          <Text key={`${name} name`}>{name}</Text>,
          <Box
            key={name}
            position="relative"
            height="5"
            bg="bg.muted"
            borderRadius="sm"
            role="img"
            aria-label={words}
            title={words}
          >
            {waits !== null && end !== null && (
              <>
                <Part
                  from={share(waits)}
                  to={share(running ?? end)}
                  colour="queued.solid"
                  image={WAITING}
                />
                {running !== null && (
                  <Part
                    from={share(running)}
                    to={share(end)}
                    colour={`${look(state ?? "running").colour}.solid`}
                  />
                )}
              </>
            )}
          </Box>,
        ];
      })}
      <span />
      <HStack justify="space-between" color="fg.muted" fontSize="xs">
        <Text>{label(begun)}</Text>
        <Text hideBelow="sm">{label((begun + to) / 2)}</Text>
        <Text>{batch.finished === null ? "now" : label(to)}</Text>
      </HStack>
    </Grid>
  );
}

function Part({
  from,
  to,
  colour,
  image,
}: {
  from: number;
  to: number;
  colour: string;
  image?: string;
}) {
  return (
    <Box
      position="absolute"
      top="0"
      bottom="0"
      borderRadius="sm"
      minWidth="2px"
      bg={colour}
      style={{
        left: `${from * 100}%`,
        width: `${Math.max(0, to - from) * 100}%`,
        backgroundImage: image,
      }}
    />
  );
}
