import { Box, Flex, Stack, Text } from "@chakra-ui/react";

import type { JobPage } from "../../app/types";
import { useNow } from "../../lib/clock";
import { look } from "../../lib/states";
import { duration } from "../../lib/time";
import { phases, rankWords } from "../../lib/timeline";
import { Section } from "../../parts/Section";
import { Exact } from "../../parts/times";
import { Facts } from "./Facts";

// Waiting has to look like waiting in grey, too.
const HATCH = "repeating-linear-gradient(45deg, transparent 0 3px, rgba(255,255,255,.45) 3px 5px)";

/** d: the job's life as one bar, exact times, how it compares, and its limit. */
export function Timings({ job }: { job: JobPage }) {
  const times = job.timings;
  if (!times) return null;
  const { limit, ranks } = job;
  const runs = ranks?.runs ?? 0;
  const wait = rankWords(ranks?.wait ?? null, runs);
  const run = rankWords(ranks?.run ?? null, runs);
  return (
    <Section id="timing" title="Timings">
      <Stack gap="3">
        <LifeBar times={times} limitAt={limit?.limit_at ?? null} />
        <Facts
          facts={[
            ["Submitted", <Exact key="c" at={times.created} />],
            ["Queued", times.queued === null ? null : <Exact key="q" at={times.queued} />],
            ["Started", times.running === null ? null : <Exact key="r" at={times.running} />],
            ["Ended", times.finished === null ? null : <Exact key="f" at={times.finished} />],
            [
              "Waited",
              times.wait_ms === null || !wait ? null : `${duration(times.wait_ms)}, ${wait}`,
            ],
            ["Ran", times.run_ms === null || !run ? null : `${duration(times.run_ms)}, ${run}`],
            ["Time limit", limitWords(limit)],
            ["Ended at the latest", limit?.limit_at ? <Exact key="l" at={limit.limit_at} /> : null],
          ]}
        />
      </Stack>
    </Section>
  );
}

/** "24 h" with the rule that it comes from. */
export function limitWords(limit: JobPage["limit"]): string | null {
  if (!limit?.time_limit_s) return null;
  const length = duration(limit.time_limit_s * 1000);
  return limit.rule ? `${length} (rule: ${limit.rule})` : `${length} (no rule of an administrator)`;
}

/** The phases as one bar, with their lengths; the limit as a mark in it. */
export function LifeBar({
  times,
  limitAt,
  whole,
  bare = false,
}: {
  times: NonNullable<JobPage["timings"]>;
  limitAt?: number | null;
  /** How long a full bar is, ms (comparing: the longest of all). */
  whole?: number;
  /** Only the bar. */
  bare?: boolean;
}) {
  const now = useNow();
  const parts = phases(times, now);
  const start = parts[0]?.from;
  if (start === undefined) return <Text color="fg.muted">No times known</Text>;
  const end = parts.at(-1)?.to ?? start;
  // A limit far away would make the life itself a dot.
  const near = limitAt && limitAt - start < (end - start) * 4 ? limitAt : null;
  const length = Math.max(1, whole ?? Math.max(end, near ?? 0) - start);
  const names = { created: "Submitting", queued: "Waiting", running: "Running" };
  const said = parts.map(
    (part) => `${names[part.state]} ${duration(part.to - part.from)}${part.open ? " so far" : ""}`,
  );
  return (
    <Box>
      <Box position="relative" role="img" aria-label={said.join(", ")}>
        <Flex height="18px" borderRadius="sm" overflow="hidden" bg="bg.muted">
          {parts.map((part) => (
            <Box
              key={part.state}
              width={`${((part.to - part.from) / length) * 100}%`}
              minWidth="2px"
              bg={`${look(part.state).colour}.solid`}
              bgImage={part.state === "queued" ? HATCH : undefined}
              title={`${names[part.state]} ${duration(part.to - part.from)}`}
            />
          ))}
        </Flex>
        {near !== null && (
          <Box
            position="absolute"
            top="-3px"
            bottom="-3px"
            width="3px"
            bg="warning.solid"
            style={{
              insetInlineStart: `calc(${Math.min(100, ((near - start) / length) * 100)}% - 3px)`,
            }}
            title="Time limit"
          />
        )}
      </Box>
      {!bare && (
        <Flex wrap="wrap" columnGap="5" fontSize="sm" mt="1" aria-hidden>
          {parts.map((part, at) => (
            <Flex key={part.state} align="center" gap="1.5">
              <Box
                boxSize="10px"
                borderRadius="2px"
                bg={`${look(part.state).colour}.solid`}
                bgImage={part.state === "queued" ? HATCH : undefined}
              />
              <Text fontVariantNumeric="tabular-nums">{said[at]}</Text>
            </Flex>
          ))}
          {near !== null && (
            <Flex align="center" gap="1.5">
              <Box boxSize="10px" borderRadius="2px" bg="warning.solid" />
              <Text>Time limit</Text>
            </Flex>
          )}
        </Flex>
      )}
    </Box>
  );
}
