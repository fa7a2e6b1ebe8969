/** The card on Airflow's home page: how my jobs stand, at one look. */

import { Box, Flex, Heading, HStack, Stack, Text } from "@chakra-ui/react";
import { ArrowRight } from "lucide-react";

import { PageLink, pathOf } from "../../app/links";
import { useLive } from "../../app/live";
import type { Counts, JobList } from "../../app/types";
import { localZone } from "../../lib/time";
import { bounded } from "../../lib/format";
import { stale } from "../../lib/stale";
import { query } from "../../lib/words";
import { titleOf } from "../../parts/jobColumns";
import { StateBadge } from "../../parts/StateBadge";
import { Ago } from "../../parts/times";
import { Tile } from "../../parts/Tile";

const EVERY_MS = 15_000;
const SHOWN = 5;

/** See the module. When the server does not answer it says nothing: the page is Airflow's. */
export function HomeCard() {
  const counts = useLive<Counts>(`/jobs/counts${query({ scope: "mine", tz: localZone() })}`, {
    every: EVERY_MS,
  });
  const list = useLive<JobList>(
    `/jobs${query({ scope: "mine", status: "live", sort: "-created", limit: SHOWN })}`,
    { every: EVERY_MS },
  );
  const found = counts.data;
  const rows = list.data?.items ?? [];
  if (!found) return null;
  const tiles = [
    { label: "Running", count: found.running, colour: "running", to: "/jobs?status=running" },
    { label: "Queued", count: found.queued, colour: "queued", to: "/jobs?status=queued" },
    {
      label: "Finished today",
      count: found.finished_today,
      colour: "success",
      to: `/jobs/history${query({ status: "completed,error,terminated", from: found.today })}`,
    },
    {
      label: "Failed today",
      count: found.failed_today,
      colour: "failed",
      to: `/jobs/history${query({ status: "error", from: found.today })}`,
    },
  ];
  return (
    <Box
      as="section"
      aria-labelledby="ee2-my-jobs"
      borderWidth="1px"
      borderRadius="md"
      p="4"
      {...stale(counts.failedAt)}
    >
      <Flex justify="space-between" align="center" mb="3" gap="3">
        <Heading as="h2" size="md" id="ee2-my-jobs">
          My jobs
        </Heading>
        <PageLink to="/jobs" fontSize="sm">
          All my jobs <ArrowRight size={14} aria-hidden />
        </PageLink>
      </Flex>
      <Box display="grid" gridTemplateColumns={{ base: "1fr 1fr", lg: "repeat(4, 1fr)" }} gap="3">
        {tiles.map(({ label, count, colour, to }) => (
          <PageLink key={label} to={to} display="block" _hover={{ textDecoration: "none" }}>
            <Box width="full">
              <Tile label={label} value={count ? bounded(count) : "–"} colour={colour} />
            </Box>
          </PageLink>
        ))}
      </Box>
      {rows.length > 0 ? (
        <Stack as="ul" listStyleType="none" gap="0" mt="3">
          {rows.map((row) => (
            <HStack
              as="li"
              key={row.id}
              gap="3"
              py="1.5"
              borderTopWidth="1px"
              justify="space-between"
              fontSize="sm"
            >
              <HStack gap="3" minWidth="0">
                <StateBadge state={row.status} size="xs" />
                <PageLink to={pathOf(row)} truncate display="block" minWidth="0" color="fg">
                  <bdi>{titleOf(row)}</bdi>
                </PageLink>
              </HStack>
              <Text color="fg.muted" flexShrink="0">
                <Ago at={row.created} />
              </Text>
            </HStack>
          ))}
        </Stack>
      ) : (
        list.data && (
          <Text mt="3" fontSize="sm" color="fg.muted">
            No job of yours is running or waiting.
          </Text>
        )
      )}
    </Box>
  );
}
