/** The head of a batch: what it is, how far it has come, when it ends, what it has cost. */

import { Box, Button, Flex, Heading, HStack, Link, Stack, Text } from "@chakra-ui/react";
import { Ban, Download, ExternalLink, Redo2, Share2 } from "lucide-react";
import { useState, type ReactNode } from "react";

import { useHome } from "../../app/home";
import { PageLink } from "../../app/links";
import { useNow } from "../../lib/clock";
import { number, percent } from "../../lib/format";
import { look } from "../../lib/states";
import { expected } from "../../lib/time";
import { query } from "../../lib/words";
import { CopyId } from "../../parts/CopyId";
import { Share } from "../../parts/Share";
import { StackedBar } from "../../parts/StackedBar";
import { StateBadge } from "../../parts/StateBadge";
import { Ago, Span } from "../../parts/times";
import { liveCount, overall, type BatchPage } from "./words";

/** See the module. ask: cancels or retries after a question; null: the reader may not. */
export function Header({
  batch,
  asAdmin,
  aside,
  ask,
}: {
  batch: BatchPage;
  asAdmin: boolean;
  aside: ReactNode;
  ask: ((action: "cancel" | "retry", status: string) => void) | null;
}) {
  const { api, airflow } = useHome();
  const { counts } = batch;
  const [sharing, setSharing] = useState(false);
  const failed = counts.error ?? 0;
  const cancelled = counts.terminated ?? 0;
  // What of split and aggregate has not ended is cancelled, too.
  const live = batch.stages.reduce((sum, stage) => sum + liveCount(stage.counts), 0);
  const narrative = batch.narrative;
  return (
    <Stack gap="3" overflowWrap="anywhere">
      <Flex justify="space-between" align="start" gap="3" wrap="wrap">
        <Box minWidth="0" flex="1 1 20rem">
          <HStack gap="3" wrap="wrap" align="center">
            <Heading as="h1" size="xl" overflowWrap="anywhere">
              <bdi>{batch.name}</bdi>
            </Heading>
            <StateBadge state={overall(batch)} size="md" />
          </HStack>
          <HStack gap="4" wrap="wrap" mt="1" fontSize="sm" color="fg.muted">
            <span>
              Batch <CopyId id={batch.id} what="id of the batch" />
            </span>
            <Text minWidth="0">
              of <bdi>{batch.owner}</bdi>
            </Text>
            {narrative.ws_id !== null && (
              <PageLink
                to={`/jobs/narratives${query({ ws: narrative.ws_id })}`}
                maxWidth="28rem"
                overflowWrap="anywhere"
              >
                <bdi>{narrative.title ?? `narrative ${narrative.ws_id}`}</bdi>
              </PageLink>
            )}
            {airflow !== null && batch.run_url && (
              <Link href={batch.run_url}>
                Run in Airflow <ExternalLink size={12} aria-hidden />
              </Link>
            )}
            <Text>
              submitted <Ago at={batch.created} />
            </Text>
          </HStack>
        </Box>
        {aside}
      </Flex>
      <StackedBar counts={counts} height="18px" numbers />
      <Facts batch={batch} />
      <HStack gap="2" wrap="wrap">
        {ask && batch.can.retry && failed > 0 && (
          <Button size="sm" colorPalette="brand" onClick={() => ask("retry", "error")}>
            <Redo2 size={14} aria-hidden /> Retry failed ({number(failed)})
          </Button>
        )}
        {ask && batch.can.retry && cancelled > 0 && (
          <Button size="sm" variant="outline" onClick={() => ask("retry", "terminated")}>
            <Redo2 size={14} aria-hidden /> Retry cancelled ({number(cancelled)})
          </Button>
        )}
        {ask && batch.can.cancel && live > 0 && (
          <Button
            size="sm"
            variant="outline"
            colorPalette="danger"
            onClick={() => ask("cancel", "live")}
          >
            <Ban size={14} aria-hidden /> Cancel all ({number(live)})
          </Button>
        )}
        {batch.can.share && (
          <Button size="sm" variant="outline" onClick={() => setSharing(true)}>
            <Share2 size={14} aria-hidden /> Share
          </Button>
        )}
        <Button size="sm" variant="outline" asChild>
          <a
            href={`${api}/batches/${batch.id}/table.csv${query({ as_admin: asAdmin })}`}
            download={`${batch.id}.csv`}
          >
            <Download size={14} aria-hidden /> Download table
          </a>
        </Button>
      </HStack>
      <Share job={{ ...batch, is_batch: true }} open={sharing} onClose={() => setSharing(false)} />
    </Stack>
  );
}

function Facts({ batch }: { batch: BatchPage }) {
  const now = useNow();
  const end = batch.expected_end;
  const [from, to] = end ?? [];
  return (
    <Flex as="dl" gap={{ base: "3", md: "8" }} rowGap="2" wrap="wrap">
      <Fact name="Children">{number(batch.children)}</Fact>
      <Fact name="Done">
        {batch.percent === null ? "–" : `${number(Math.floor(batch.percent * 10) / 10, 1)} %`}
      </Fact>
      <Fact name={batch.end ? "Took" : "Elapsed"}>
        <Span from={batch.created} to={batch.finished} />
      </Fact>
      {batch.end ? (
        <Fact name={look(batch.end).word}>
          <Ago at={batch.finished} />
        </Fact>
      ) : (
        <Fact
          name="Expected end"
          note={
            batch.ends_share !== null && end
              ? `such ranges are right in ${percent(batch.ends_share)} of cases`
              : null
          }
        >
          {from !== undefined && to !== undefined ? expected(from, to, now) : "nobody can say yet"}
        </Fact>
      )}
      <Fact
        name={batch.end ? "Cost" : "Cost so far"}
        note={batch.run_hours ? `in ${cpuHours(batch.run_hours)} h of running` : null}
      >
        {cpuHours(batch.cpu_hours)} CPU hours
      </Fact>
      {batch.window !== null && <Fact name="At a time">at most {number(batch.window)}</Fact>}
      {batch.reason && (
        <Fact name={batch.ended_by ? `Cancelled by ${batch.ended_by}` : "Reason"}>
          <bdi>{batch.reason}</bdi>
        </Fact>
      )}
    </Flex>
  );
}

function cpuHours(value: number): string {
  return value > 0 && value < 0.05 ? "< 0.1" : number(value, value < 10 ? 1 : 0);
}

function Fact({
  name,
  note = null,
  children,
}: {
  name: string;
  note?: string | null;
  children: ReactNode;
}) {
  return (
    <Box>
      <Text as="dt" fontSize="xs" color="fg.muted">
        {name}
      </Text>
      <Text as="dd" fontWeight="medium" overflowWrap="anywhere">
        {children}
        {note && (
          <Text as="span" display="block" fontSize="xs" fontWeight="normal" color="fg.muted">
            {note}
          </Text>
        )}
      </Text>
    </Box>
  );
}
