import { Box, Button, Flex, Heading, HStack, Link, Stack, Text } from "@chakra-ui/react";
import { Ban, Columns2, ExternalLink, Redo2, Share2 } from "lucide-react";
import { useState } from "react";

import { useAsked } from "../../app/asked";
import { useHome } from "../../app/home";
import { PageLink } from "../../app/links";
import { useMe } from "../../app/me";
import type { JobPage } from "../../app/types";
import { plain } from "../../lib/ansi";
import { useNow } from "../../lib/clock";
import { appName, number } from "../../lib/format";
import { safeHref } from "../../lib/href";
import { isLive } from "../../lib/states";
import { duration } from "../../lib/time";
import { Asked } from "../../parts/Asked";
import { CopyId } from "../../parts/CopyId";
import { Notice } from "../../parts/Notice";
import { StateBadge } from "../../parts/StateBadge";
import { Span } from "../../parts/times";
import { Share } from "../../parts/Share";
import { CompareWith } from "./CompareWith";
import { Marks, Watch } from "./Marks";
import { Waiting } from "./Waiting";

/** The head of the page: what it is, how it stands, why it failed, what can be done. */
export function Head({
  job,
  admin,
  onCancel,
  onRetry,
}: {
  job: JobPage;
  admin: boolean;
  onCancel: () => void;
  onRetry: () => void;
}) {
  const me = useMe();
  const { airflow } = useHome();
  const asked = useAsked().get(job.id);
  const [dialog, setDialog] = useState<"share" | "compare" | null>(null);
  const live = isLive(job.status);
  const cancelling = live && asked !== undefined;
  const mine = job.owner === me.user;
  const run = airflow === null ? null : safeHref(job.run_url);
  const node = job.where?.host ?? undefined;
  return (
    <Stack gap="3" mb="2">
      {job.batch && (
        <Text fontSize="sm">
          <PageLink to={`/batches/${job.batch.id}`} textDecoration="underline">
            Batch
          </PageLink>{" "}
          {batchWords(job.batch)}
        </Text>
      )}
      <Flex justify="space-between" align="start" gap="3" wrap="wrap">
        <Box minWidth="0" flex="1 1 24rem">
          <HStack gap="3" wrap="wrap" align="center">
            <StateBadge state={cancelling ? "cancelling" : job.status} size="lg" />
            <Heading as="h1" size="xl" overflowWrap="anywhere">
              <bdi>{appName({ ...job.app })}</bdi>
            </Heading>
            <NearLimit job={job} />
          </HStack>
          <HStack gap="4" wrap="wrap" mt="1" fontSize="sm" color="fg.muted">
            <CopyId id={job.id} what="id of the job" whole />
            <Text>
              of <bdi>{job.owner}</bdi>
            </Text>
            {job.timings?.running && live && (
              <Text>
                running for <Span from={job.timings.running} />
              </Text>
            )}
            {run && (
              <Link href={run}>
                Run in Airflow <ExternalLink size={12} aria-hidden />
              </Link>
            )}
            {job.tags && <Marks id={job.id} admin={admin} tags={job.tags} />}
          </HStack>
        </Box>
        <HStack gap="2" wrap="wrap">
          {job.can?.cancel && !cancelling && me.may_write && (
            <Button size="sm" variant="outline" colorPalette="danger" onClick={onCancel}>
              <Ban size={14} aria-hidden /> Cancel
            </Button>
          )}
          {job.can?.retry && me.may_write && (
            <Button size="sm" colorPalette="brand" onClick={onRetry}>
              <Redo2 size={14} aria-hidden /> Retry
            </Button>
          )}
          {mine && me.may_write && (
            <Button size="sm" variant="outline" onClick={() => setDialog("share")}>
              <Share2 size={14} aria-hidden /> Share
            </Button>
          )}
          <Button size="sm" variant="outline" onClick={() => setDialog("compare")}>
            <Columns2 size={14} aria-hidden /> Compare with…
          </Button>
          {live && <Watch id={job.id} admin={admin} />}
        </HStack>
      </Flex>
      {cancelling && <Asked at={asked} row={{ status: job.status, node }} />}
      <Outcome job={job} />
      {live && <Waiting id={job.id} admin={admin} running={job.status === "running"} />}
      <Family job={job} />
      <Share job={job} open={dialog === "share"} onClose={() => setDialog(null)} />
      <CompareWith job={job} open={dialog === "compare"} onClose={() => setDialog(null)} />
    </Stack>
  );
}

function batchWords(batch: NonNullable<JobPage["batch"]>): string {
  const whole = batch.children ? ` of ${number(batch.children)}` : "";
  const place =
    batch.index === null || batch.index === undefined
      ? ""
      : `job ${number(batch.index + 1)}${whole}`;
  return [batch.role, place]
    .filter(Boolean)
    .map((one) => `› ${one}`)
    .join(" ");
}

function NearLimit({ job }: { job: JobPage }) {
  const now = useNow();
  const at = job.limit?.limit_at;
  const start = job.timings?.running;
  if (!at || !start || job.status !== "running") return null;
  if (at - now > (at - start) * 0.1) return null;
  return (
    <HStack gap="2">
      <StateBadge state="near_limit" />
      <Text fontSize="sm">ends by its limit in {duration(at - now)}</Text>
    </HStack>
  );
}

/** Of a job that failed or was cancelled: what happened, in one sentence, and where it says so. */
function Outcome({ job }: { job: JobPage }) {
  if (job.status !== "error" && job.status !== "terminated") return null;
  const line = job.error_line;
  const sentence = plain(job.sentence);
  const words = job.code_words;
  const meaning =
    words && !sentence.toLowerCase().startsWith(words.toLowerCase())
      ? words
      : job.code !== null && job.code !== undefined && job.status === "error"
        ? `code ${job.code}: ${words ?? ""}`
        : null;
  return (
    <Notice
      kind={job.status === "error" ? "error" : "warning"}
      title={<bdi style={{ overflowWrap: "anywhere" }}>{sentence}</bdi>}
    >
      {line && (
        <Text>
          First error line:{" "}
          <PageLink
            to={`/jobs/${job.id}/log?line=${line.n}`}
            textDecoration="underline"
            fontFamily="mono"
            fontSize="sm"
            overflowWrap="anywhere"
            color="inherit"
          >
            <bdi>
              {line.n}: {plain(line.text)}
            </bdi>
          </PageLink>
        </Text>
      )}
      {meaning && <Text>Meaning: {meaning}</Text>}
    </Notice>
  );
}

/** The retry family as a strip. */
function Family({ job }: { job: JobPage }) {
  if (job.attempts.length < 2) return null;
  return (
    <HStack as="nav" aria-label="Attempts" gap="2" wrap="wrap" fontSize="sm">
      {job.attempts.map((one) => {
        const here = one.id === job.id;
        return (
          <HStack
            key={one.id}
            gap="2"
            borderWidth="1px"
            borderColor={here ? "brand.solid" : "border"}
            borderRadius="md"
            px="2"
            py="1"
            aria-current={here ? "page" : undefined}
          >
            {here ? (
              <Text fontWeight="semibold">Attempt {one.attempt}</Text>
            ) : (
              <PageLink to={`/jobs/${one.id}`} textDecoration="underline">
                Attempt {one.attempt}
              </PageLink>
            )}
            <StateBadge state={one.status} size="xs" />
          </HStack>
        );
      })}
    </HStack>
  );
}
