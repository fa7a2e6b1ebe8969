import { Box, Stack, Text } from "@chakra-ui/react";

import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { useNow } from "../../lib/clock";
import { number, percent } from "../../lib/format";
import { expected } from "../../lib/time";
import { PartTrouble } from "./Facts";
import { pathOfPart } from "./useJobPage";

type Queue = Answer<"JobQueue">;
const EVERY_MS = 10_000;

/** Of a live job: its place in line, why it waits, when it may start and end, and how far such
 * ranges can be trusted. */
export function Waiting({ id, admin, running }: { id: string; admin: boolean; running: boolean }) {
  const live = useLive<Queue>(pathOfPart(id, "/queue", admin, { at: running ? "running" : "" }), {
    every: EVERY_MS,
    keep: true,
  });
  const queue = live.data;
  if (!queue) return <PartTrouble live={live} what="The place in line" />;
  const words = [...queue.basis, queue.note].filter(Boolean).join(" · ");
  const overall = queue.position_overall;
  return (
    <Box borderLeftWidth="3px" borderColor={running ? "running.solid" : "queued.solid"} ps="3">
      <Stack gap="1" fontSize="sm" data-testid="waiting">
        {!running && queue.text && (
          <Text fontWeight="medium">
            {queue.text}
            {overall !== null && overall !== queue.position && queue.in_line_overall !== null && (
              <Text as="span" color="fg.muted" fontWeight="normal">
                {" "}
                ({number(overall)} of {number(queue.in_line_overall)} in all groups; users take
                turns, so places can change)
              </Text>
            )}
          </Text>
        )}
        {!running && queue.reason && <Text>Waiting because: {queue.reason.text}</Text>}
        <Ranges queue={queue} running={running} />
        {words && (
          <Text color="fg.muted" fontSize="xs">
            From: {words}
          </Text>
        )}
      </Stack>
    </Box>
  );
}

function Ranges({ queue, running }: { queue: Queue; running: boolean }) {
  const now = useNow();
  const [startFrom, startTo] = queue.expected_start ?? [];
  const [endFrom, endTo] = queue.expected_end ?? [];
  const parts = [];
  if (!running && startFrom !== undefined && startTo !== undefined)
    parts.push(`start ${expected(startFrom, startTo, now)}`);
  if (endFrom !== undefined && endTo !== undefined)
    parts.push(`end ${expected(endFrom, endTo, now)}`);
  if (!parts.length)
    return (
      <Text color="fg.muted">Nobody can say yet when it will {running ? "end" : "start"}.</Text>
    );
  return (
    <Text>
      Expected to {parts.join(" and ")}
      <Text as="span" color="fg.muted">
        {" "}
        ({trustWords(queue.hit_rate, running)})
      </Text>
    </Text>
  );
}

/** How often such ranges were right. */
export function trustWords(rate: Queue["hit_rate"], running: boolean): string {
  const [count, share, what] = running
    ? [rate?.ends ?? 0, rate?.end_share ?? null, "ends"]
    : [rate?.starts ?? 0, rate?.start_share ?? null, "starts"];
  if (!rate || share === null || count === 0)
    return "how often such a range is right is not known yet";
  return `such a range was right for ${percent(share)} of ${number(count)} ${what} of ${rate.of}`;
}
