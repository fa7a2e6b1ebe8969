/** The steps of a batch: as a flow from left to right, and on a line of time. */

import { Box, Flex, Heading, HStack, Stack, Text } from "@chakra-ui/react";
import { ArrowDown, ArrowRight, ScrollText } from "lucide-react";
import { Fragment } from "react";

import { PageLink } from "../../app/links";
import { StackedBar } from "../../parts/StackedBar";
import { StateBadge } from "../../parts/StateBadge";
import { Ago, Span } from "../../parts/times";
import { goesOn, stageName, type BatchPage, type Stage } from "./words";

/** Split → parts → aggregate, as far as the batch has them. */
export function Stages({ batch }: { batch: BatchPage }) {
  return (
    <Flex
      as="ol"
      listStyleType="none"
      direction={{ base: "column", md: "row" }}
      align="stretch"
      gap="2"
    >
      {batch.stages.map((stage, at) => (
        <Fragment key={stage.stage}>
          {at > 0 && (
            <Box as="li" role="presentation" color="fg.muted" alignSelf="center" aria-hidden>
              <Box hideBelow="md">
                <ArrowRight size={20} />
              </Box>
              <Box hideFrom="md">
                <ArrowDown size={20} />
              </Box>
            </Box>
          )}
          <OneStage stage={stage} batch={batch} />
        </Fragment>
      ))}
    </Flex>
  );
}

function OneStage({ stage, batch }: { stage: Stage; batch: BatchPage }) {
  const ended = goesOn(stage) ? null : stage.last_finished;
  return (
    <Box
      as="li"
      flex={stage.stage === "parts" ? "2" : "1"}
      minWidth="0"
      borderWidth="1px"
      borderRadius="md"
      px="4"
      py="3"
      data-stage={stage.stage}
    >
      <HStack justify="space-between" gap="2" wrap="wrap">
        <Heading as="h3" size="sm">
          {stageName(stage, batch.children)}
        </Heading>
        {stage.status ? (
          <StateBadge state={stage.status} />
        ) : (
          <Text fontSize="sm" color="fg.muted">
            not made yet
          </Text>
        )}
      </HStack>
      <Stack gap="1" mt="2" fontSize="sm">
        {stage.stage === "parts" && <StackedBar counts={stage.counts} numbers />}
        <HStack columnGap="4" rowGap="0" wrap="wrap" color="fg.muted">
          {stage.first_queued !== null && (
            <Text>
              waited <Span from={stage.first_queued} to={stage.first_running ?? ended} />
            </Text>
          )}
          {stage.first_running !== null && (
            <Text>
              ran <Span from={stage.first_running} to={ended} />
            </Text>
          )}
          {ended !== null && (
            <Text>
              ended <Ago at={ended} />
            </Text>
          )}
          {stage.first_queued === null && stage.first_running === null && (
            <Text>begins when the step before it has ended</Text>
          )}
        </HStack>
        {stage.job_id && (
          <HStack gap="4">
            <PageLink to={`/jobs/${stage.job_id}/log`} fontSize="sm">
              <ScrollText size={14} aria-hidden /> Log
            </PageLink>
            <PageLink to={`/jobs/${stage.job_id}`} fontSize="sm">
              Job
            </PageLink>
          </HStack>
        )}
      </Stack>
    </Box>
  );
}
