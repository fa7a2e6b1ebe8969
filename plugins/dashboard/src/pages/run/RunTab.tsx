/** The tab on the page of a DAG's run: the batch or the job that the run is of, in short. */

import { Box, Heading, HStack, Skeleton, Stack, Text } from "@chakra-ui/react";
import { ArrowRight } from "lucide-react";
import { useMemo } from "react";

import { useJobList } from "../../app/jobList";
import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { JobPage } from "../../app/types";
import { plain } from "../../lib/ansi";
import { appName, number } from "../../lib/format";
import { isLive } from "../../lib/states";
import { expected } from "../../lib/time";
import { useNow } from "../../lib/clock";
import { stale } from "../../lib/stale";
import { query } from "../../lib/words";
import { CopyId } from "../../parts/CopyId";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { JobTable } from "../../parts/JobTable";
import { Section } from "../../parts/Section";
import { StackedBar } from "../../parts/StackedBar";
import { StateBadge } from "../../parts/StateBadge";
import { Exact, Span } from "../../parts/times";
import { Gantt } from "../batch/Gantt";
import { Stages } from "../batch/Stages";
import { overall, type BatchPage } from "../batch/words";

const EVERY_MS = 5000;
const SUBMISSION = /^[0-9a-f]{24}$/;
const SHOWN = 20;

/** See the module. dagId, runId: from Airflow's address; of a run of ours the latter is the id of
 * the submission, which is that of its batch or its single job. */
export function RunTab({ dagId, runId }: { dagId: string; runId: string }) {
  if (!SUBMISSION.test(runId)) return <NoJobs dagId={dagId} />;
  return <Submission key={runId} id={runId} dagId={dagId} />;
}

function NoJobs({ dagId }: { dagId: string }) {
  return (
    <Empty title="This run has no EE2 jobs.">
      Runs of <bdi>{dagId || "this DAG"}</bdi> do other work: looking after the system, say. Jobs
      are on <PageLink to="/jobs">the dashboard</PageLink>.
    </Empty>
  );
}

function Submission({ id, dagId }: { id: string; dagId: string }) {
  const me = useMe();
  const asAdmin = me.is_admin || me.is_admin_reader;
  const by = query({ as_admin: asAdmin });
  const live = useLive<JobPage>(`/jobs/${id}${by}`, {
    every: (data) => (data && !data.is_batch && isLive(data.status) ? EVERY_MS : null),
  });
  const { data } = live;
  return (
    // The theme sets it for each element, so that what stands in a <bdi> would not inherit it.
    <Box p="4" overflowWrap="anywhere" css={{ "& bdi": { overflowWrap: "anywhere" } }}>
      {live.error?.hidden ? (
        <Empty title="No job of this run can be shown.">
          The run of <bdi>{dagId}</bdi> has no EE2 job, or you may not see it.
        </Empty>
      ) : !data ? (
        live.error ? (
          <Trouble live={live} />
        ) : (
          <Skeleton height="40" />
        )
      ) : data.is_batch ? (
        <BatchInShort id={id} by={by} asAdmin={asAdmin} />
      ) : (
        <>
          <Trouble live={live} />
          <JobInShort job={data} aside={<Freshness live={live} />} />
        </>
      )}
    </Box>
  );
}

/** A way to the dashboard's own page. */
function Onward({ to, what }: { to: string; what: string }) {
  return (
    <PageLink to={to} fontWeight="medium" textDecoration="underline">
      {what} <ArrowRight size={14} aria-hidden />
    </PageLink>
  );
}

function JobInShort({ job, aside }: { job: JobPage; aside: React.ReactNode }) {
  const { error_line: line, timings: times } = job;
  return (
    <Stack gap="3">
      <HStack justify="space-between" wrap="wrap" gap="3">
        <HStack gap="3" wrap="wrap" minWidth="0">
          <StateBadge state={job.status} size="md" />
          <Heading as="h2" size="md" overflowWrap="anywhere">
            <bdi>{appName({ ...job.app, app_title: job.app?.title })}</bdi>
          </Heading>
          <CopyId id={job.id} what="id of the job" />
        </HStack>
        {aside}
      </HStack>
      <Text overflowWrap="anywhere">{job.sentence}</Text>
      {line && (
        <Text fontFamily="mono" fontSize="sm" color="failed.fg" overflowWrap="anywhere">
          <bdi>{plain(line.text)}</bdi>
        </Text>
      )}
      <HStack as="dl" gap="8" wrap="wrap" fontSize="sm">
        <Fact name="Owner">
          <bdi>{job.owner}</bdi>
        </Fact>
        <Fact name="Submitted">
          <Exact at={times?.created} />
        </Fact>
        <Fact name="Waited">
          <Span
            from={times?.created}
            to={times?.running ?? (isLive(job.status) ? null : times?.finished)}
          />
        </Fact>
        <Fact name="Ran">
          <Span from={times?.running} to={times?.finished} />
        </Fact>
        {job.where?.host && <Fact name="Node">{job.where.host}</Fact>}
      </HStack>
      <HStack gap="6" wrap="wrap">
        <Onward to={`/jobs/${job.id}`} what="All of this job" />
        <Onward to={`/jobs/${job.id}/log`} what="Log" />
      </HStack>
    </Stack>
  );
}

function BatchInShort({ id, by, asAdmin }: { id: string; by: string; asAdmin: boolean }) {
  const now = useNow();
  const live = useLive<BatchPage>(`/batches/${id}${by}`, {
    every: (data) => (data?.end ? null : EVERY_MS),
  });
  const list = useJobList({
    scope: asAdmin ? "all" : "mine",
    words: { batch: id },
    sort: "created",
    // Split and aggregate are among them, and stand among the stages.
    limit: SHOWN + 2,
  });
  const rows = useMemo(() => list.rows.filter((row) => !row.role).slice(0, SHOWN), [list.rows]);
  const batch = live.data;
  if (!batch) return live.error ? <Trouble live={live} /> : <Skeleton height="40" />;
  const [from, to] = batch.expected_end ?? [];
  return (
    <Stack gap="3" {...stale(live.failedAt)}>
      <Trouble live={live} />
      <HStack justify="space-between" wrap="wrap" gap="3">
        <HStack gap="3" wrap="wrap" minWidth="0">
          <StateBadge state={overall(batch)} size="md" />
          <Heading as="h2" size="md" overflowWrap="anywhere">
            <bdi>{batch.name}</bdi>
          </Heading>
          <CopyId id={batch.id} what="id of the batch" />
        </HStack>
        <Freshness live={live} />
      </HStack>
      <StackedBar counts={batch.counts} height="14px" numbers />
      <HStack as="dl" gap="8" wrap="wrap" fontSize="sm">
        <Fact name="Owner">
          <bdi>{batch.owner}</bdi>
        </Fact>
        <Fact name="Done">{batch.percent === null ? "–" : `${number(batch.percent, 1)} %`}</Fact>
        <Fact name={batch.end ? "Took" : "Elapsed"}>
          <Span from={batch.created} to={batch.finished} />
        </Fact>
        {from !== undefined && to !== undefined && (
          <Fact name="Expected end">{expected(from, to, now)}</Fact>
        )}
      </HStack>
      <Onward to={`/batches/${id}`} what="All of this batch" />
      <Section id="run-stages" title="Stages">
        <Stages batch={batch} />
        <Gantt batch={batch} />
      </Section>
      <Section
        id="run-children"
        title={
          batch.children > SHOWN ? `The first ${SHOWN} of ${number(batch.children)} jobs` : "Jobs"
        }
        aside={
          batch.counts.error ? (
            <PageLink to={`/batches/${id}?status=error`} textDecoration="underline" fontSize="sm">
              {number(batch.counts.error)} failed
            </PageLink>
          ) : undefined
        }
      >
        <JobTable
          label={`Jobs of ${batch.name}`}
          rows={rows}
          columns={["number", "state", "label", "waited", "ran", "error", "node"]}
          keys={false}
        />
      </Section>
    </Stack>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <Box>
      <Text as="dt" fontSize="xs" color="fg.muted">
        {name}
      </Text>
      <Text as="dd" fontWeight="medium">
        {children}
      </Text>
    </Box>
  );
}
