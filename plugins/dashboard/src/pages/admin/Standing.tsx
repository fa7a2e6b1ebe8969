import { Badge, HStack, Text } from "@chakra-ui/react";
import { TriangleAlert } from "lucide-react";

import { PageLink } from "../../app/links";
import type { Answer } from "../../app/types";
import { number, plural } from "../../lib/format";
import { Empty } from "../../parts/Empty";
import { Rows, type Column } from "../../parts/Rows";
import { Ago, Span } from "../../parts/times";
import { failed, jobsAt, reasonWords } from "./overview";

type Job = Answer<"Standing">;

const app: Column<Job> = {
  name: "Job",
  cell: (job) => (
    <PageLink to={`/jobs/${job.job_id}`} title={job.job_id} overflowWrap="anywhere">
      <bdi>{job.app || job.job_id.slice(0, 8)}</bdi>
    </PageLink>
  ),
};
const user: Column<Job> = {
  name: "User",
  cell: (job) => (
    <PageLink to={jobsAt({ status: "live", user: job.user })}>
      <bdi>{job.user}</bdi>
    </PageLink>
  ),
};
const host: Column<Job> = {
  name: "Machine",
  cell: (job) =>
    job.host ? (
      <PageLink to={jobsAt({ status: "running", node: job.host })}>
        <bdi>{job.host}</bdi>
      </PageLink>
    ) : (
      "–"
    ),
};
const group: Column<Job> = { name: "Group", cell: (job) => <bdi>{job.group}</bdi> };

const KINDS = {
  running: {
    label: "Longest running",
    empty: "No job runs.",
    columns: [
      { name: "Runs", numeric: true, cell: (job: Job) => <Span from={job.since} /> },
      app,
      user,
      host,
    ],
  },
  waiting: {
    label: "Longest waiting",
    empty: "No job waits.",
    columns: [
      { name: "Waits", numeric: true, cell: (job: Job) => <Span from={job.since} /> },
      app,
      user,
      group,
      { name: "For", cell: (job: Job) => reasonWords(job.reason) },
    ],
  },
  silent: {
    label: "Silent runners",
    empty: "All running jobs have been heard of within a minute.",
    columns: [{ name: "Last sign", cell: (job: Job) => <Ago at={job.since} /> }, app, user, host],
  },
} satisfies Record<string, { label: string; empty: string; columns: Column<Job>[] }>;

/** Jobs that stand out. */
export function Standing({ kind, jobs }: { kind: keyof typeof KINDS; jobs: readonly Job[] }) {
  const { label, empty, columns } = KINDS[kind];
  if (!jobs.length) return <Empty title={empty} />;
  return <Rows label={label} columns={columns} rows={jobs} keyOf={(job) => job.job_id} />;
}

type Load = Answer<"UserLoad">;

const USERS: Column<Load>[] = [
  {
    name: "User",
    cell: (one) => (
      <PageLink to={jobsAt({ status: "live", user: one.user })}>
        <bdi>{one.user}</bdi>
      </PageLink>
    ),
  },
  { name: "Cores", numeric: true, cell: (one) => number(one.cpus) },
  { name: "Running", numeric: true, cell: (one) => number(one.running) },
  { name: "Waiting", numeric: true, cell: (one) => number(one.waiting) },
  {
    name: "Fair share",
    numeric: true,
    cell: (one) => (
      <span title="The pool’s effective priority: who has less is served first">
        {one.priority === null ? "–" : number(one.priority)}
      </span>
    ),
  },
];

/** The ten users with the most cores. */
export function LargestUsers({ users }: { users: readonly Load[] }) {
  if (!users.length) return <Empty title="Nobody has live jobs." />;
  return <Rows label="Largest users" columns={USERS} rows={users} keyOf={(one) => one.user} />;
}

type Failures = Answer<"AppFailures">;
const SHOWN = 10;

const FAILURES: Column<Failures>[] = [
  {
    name: "App",
    cell: (one) => (
      <HStack gap="2" wrap="wrap" justify={{ base: "end", sm: "start" }}>
        <PageLink
          to={jobsAt({ status: "error", app: one.app, sort: "-finished" })}
          overflowWrap="anywhere"
        >
          <bdi>{one.app}</bdi>
        </PageLink>
        {one.unusual && (
          <Badge bg="failed.subtle" color="failed.fg" size="sm">
            <TriangleAlert size={14} aria-hidden />
            Unusual
          </Badge>
        )}
      </HStack>
    ),
  },
  {
    name: "Failed, last hour",
    numeric: true,
    cell: (one) => failed(one.ended_hour, one.failed_hour),
  },
  { name: "In its week", numeric: true, cell: (one) => failed(one.ended_week, one.failed_week) },
];

/** How often apps failed in the last hour, against their week. */
export function AppFailures({ apps }: { apps: readonly Failures[] }) {
  const shown = apps.filter((one) => one.failed_hour > 0).slice(0, SHOWN);
  if (!shown.length)
    return (
      <Empty
        title={apps.length ? "No job failed in the last hour." : "No job ended in the last hour."}
      />
    );
  const others = apps.length - shown.length;
  return (
    <>
      <Rows label="Failing apps" columns={FAILURES} rows={shown} keyOf={(one) => one.app} />
      {others > 0 && (
        <Text fontSize="sm" color="fg.muted" mt="1">
          {plural(others, "more app")} with fewer failures, or none, in that hour.
        </Text>
      )}
    </>
  );
}
