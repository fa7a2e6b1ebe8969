import { Badge, Box, Button, chakra, HStack, Skeleton, Stack, Table, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";
import { useSearchParams } from "react-router-dom";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { plain } from "../../lib/ansi";
import { useNow } from "../../lib/clock";
import { appName, bytes, number, shortId } from "../../lib/format";
import { stale } from "../../lib/stale";
import { isLive } from "../../lib/states";
import { duration } from "../../lib/time";
import { phases } from "../../lib/timeline";
import { query, withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { PageHead, Section } from "../../parts/Section";
import { StateBadge } from "../../parts/StateBadge";
import { LifeBar } from "../job/Timings";
import { LogDiff } from "./LogDiff";

type Comparison = Answer<"Comparison">;
type Side = Answer<"CompareSide">;
const LIVE_MS = 10_000;

/** Two to four jobs side by side. */
export default function Compare() {
  const me = useMe();
  const [search, setSearch] = useSearchParams();
  const ids = [...new Set((search.get("ids") ?? "").split(",").map((id) => id.trim()))].filter(
    Boolean,
  );
  const all = search.get("all") === "1";
  const enough = ids.length >= 2 && ids.length <= 4;
  const admin = me.is_admin || me.is_admin_reader;
  const live = useLive<Comparison>(
    enough ? `/compare${query({ ids: ids.join(","), all, as_admin: admin })}` : null,
    {
      keep: true,
      every: (data) => (data?.jobs.some((job) => isLive(job.status)) ? LIVE_MS : null),
    },
  );
  if (!enough)
    return (
      <Empty title="Choose two to four jobs to compare.">
        Open a job and press “Compare with…”, or put their ids in the address: ?ids=first,second
      </Empty>
    );
  if (live.error?.hidden) return <Empty title="No such job, or you may not see it." />;
  const found = live.data;
  return (
    <>
      <PageHead title={`Compare ${ids.length} jobs`}>
        <Freshness live={live} />
      </PageHead>
      <Trouble live={live} />
      {!found ? (
        !live.error && <Skeleton height="96" />
      ) : (
        <Box {...stale(live.error?.passing)}>
          <Facts found={found} />
          <Lives jobs={found.jobs} />
          <Params
            found={found}
            all={all}
            onAll={(on) =>
              setSearch((before) => withWords(before, { all: on ? "1" : null }), { replace: true })
            }
          />
          <LogDiff ids={found.jobs.map((job) => job.id)} admin={admin} />
        </Box>
      )}
    </>
  );
}

function Grid({ jobs, children }: { jobs: readonly Side[]; children: ReactNode }) {
  return (
    <Box borderWidth="1px" borderRadius="md" overflowX="auto">
      <Table.Root
        size="sm"
        tableLayout="fixed"
        minWidth={{ base: `${8 + jobs.length * 11}rem`, md: `${12 + jobs.length * 14}rem` }}
      >
        <Table.Header>
          <Table.Row>
            <Table.ColumnHeader width={{ base: "8rem", md: "14rem" }} />
            {jobs.map((job) => (
              <Table.ColumnHeader key={job.id}>
                <PageLink to={`/jobs/${job.id}`} fontFamily="mono" textDecoration="underline">
                  {shortId(job.id)}
                </PageLink>
              </Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>{children}</Table.Body>
      </Table.Root>
    </Box>
  );
}

function Facts({ found: { jobs, same } }: { found: Comparison }) {
  const row = (name: string, of: (job: Side) => ReactNode, key?: string) => (
    <Table.Row key={name}>
      <Table.Cell color="fg.muted" verticalAlign="top">
        {name}{" "}
        {key !== undefined && (
          <Badge size="xs" variant="outline">
            {same[key] ? "same" : "different"}
          </Badge>
        )}
      </Table.Cell>
      {jobs.map((job) => (
        <Table.Cell key={job.id} overflowWrap="anywhere" verticalAlign="top">
          {of(job)}
        </Table.Cell>
      ))}
    </Table.Row>
  );
  const text = (value: string | null | undefined) => (value ? <bdi>{plain(value)}</bdi> : "–");
  return (
    <Grid jobs={jobs}>
      {row("State", (job) => (
        <StateBadge state={job.status} />
      ))}
      {row("Outcome", (job) => text(job.sentence))}
      {row("App", (job) => text(appName(job.app)), "method")}
      {row(
        "Version",
        (job) => text([job.app.version, job.app.service_ver].filter(Boolean).join(", ")),
        "version",
      )}
      {row("Image", (job) => text(job.app.image), "image")}
      {row("Node", (job) => text(job.host), "host")}
      {row("Requested", (job) => text(requested(job.requested)))}
      {row("CPU time", (job) => (job.cpu_s ? duration(job.cpu_s * 1000) : "–"))}
      {row("Memory at most", (job) =>
        job.peak_memory_mb === null ? "–" : bytes(job.peak_memory_mb * 1e6),
      )}
    </Grid>
  );
}

function requested(asked: Side["requested"]): string {
  return [
    asked.cpus && `${number(asked.cpus)} cores`,
    asked.memory_mb && bytes(asked.memory_mb * 1e6),
    asked.disk_gb && `${bytes(asked.disk_gb * 1e9)} of disk`,
    asked.client_group && `in ${asked.client_group}`,
  ]
    .filter(Boolean)
    .join(", ");
}

/** Their lives on one scale. */
function Lives({ jobs }: { jobs: readonly Side[] }) {
  const now = useNow();
  const length = (job: Side) => {
    const parts = phases(job.timings, now);
    return (parts.at(-1)?.to ?? 0) - (parts[0]?.from ?? 0);
  };
  const longest = Math.max(1, ...jobs.map(length));
  return (
    <Section id="timing" title="Timings">
      <Stack gap="2">
        {jobs.map((job) => (
          <HStack key={job.id} gap="3" align="start" fontSize="sm">
            <Text fontFamily="mono" width="5.5rem" flexShrink="0">
              {shortId(job.id)}
            </Text>
            <Box flex="1" minWidth="0">
              <LifeBar times={job.timings} whole={longest} />
            </Box>
            <Text width="6rem" flexShrink="0" textAlign="end" fontVariantNumeric="tabular-nums">
              {duration(length(job))}
            </Text>
          </HStack>
        ))}
      </Stack>
    </Section>
  );
}

function Params({
  found: { jobs, params, more },
  all,
  onAll,
}: {
  found: Comparison;
  all: boolean;
  onAll: (on: boolean) => void;
}) {
  // Parameters of an app are one object in a list: then its "[0]." says nothing.
  const wrapped = params.every(({ path }) => path.startsWith("[0]"));
  return (
    <Section
      id="params"
      title={all ? "All parameters" : "Parameters that differ"}
      aside={
        <Button size="xs" variant="outline" aria-pressed={all} onClick={() => onAll(!all)}>
          {all ? "Only what differs" : "Show all"}
        </Button>
      }
    >
      {!params.length ? (
        <Text color="fg.muted" fontSize="sm">
          {all ? "They have no parameters." : "They all have the same parameters."}
        </Text>
      ) : (
        <Grid jobs={jobs}>
          {params.map((param) => (
            <Table.Row key={param.path} bg={all && !param.same ? "warning.subtle" : undefined}>
              <Table.Cell
                color={all && !param.same ? "fg" : "fg.muted"}
                overflowWrap="anywhere"
                verticalAlign="top"
              >
                <bdi>{wrapped ? param.path.replace(/^\[0\]\.?/, "") || "value" : param.path}</bdi>
              </Table.Cell>
              {jobs.map((job, at) => (
                <Table.Cell key={job.id} overflowWrap="anywhere" verticalAlign="top">
                  {param.has[at] ? (
                    <chakra.bdi whiteSpace="pre-wrap">{valueText(param.values[at])}</chakra.bdi>
                  ) : (
                    <Text
                      as="span"
                      color={all && !param.same ? "fg" : "fg.muted"}
                      fontStyle="italic"
                    >
                      not given
                    </Text>
                  )}
                </Table.Cell>
              ))}
            </Table.Row>
          ))}
        </Grid>
      )}
      {more > 0 && (
        <Text fontSize="sm" color="fg.muted" mt="1">
          {number(more)} more are not shown.
        </Text>
      )}
    </Section>
  );
}

function valueText(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
