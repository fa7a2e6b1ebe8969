import { Box, Stack, Table, Text } from "@chakra-ui/react";

import { PageLink } from "../../app/links";
import type { JobPage } from "../../app/types";
import { bytes, number } from "../../lib/format";
import { duration } from "../../lib/time";
import { Section } from "../../parts/Section";
import { StateBadge } from "../../parts/StateBadge";
import { Exact, Fixed } from "../../parts/times";
import { Facts } from "./Facts";

/** f: where the job ran or runs, what it asked for and used, and its attempts. */
export function WhereRan({ job }: { job: JobPage }) {
  const { where, app, resources } = job;
  return (
    <Section id="where" title="Where it ran">
      <Stack gap="4">
        <Facts
          facts={[
            ["Node", where?.host ?? "not started"],
            ["Slot", where?.slot],
            ["Client group", where?.group],
            ["Cluster", where?.cluster],
            ["Route", where?.route],
            ["Batch system id", where?.batch_system_id ?? job.scheduler_id],
            ["Starts", where?.starts && where.starts > 1 ? number(where.starts) : null],
            ["Image", app?.image],
            ["Version of the app", app?.version],
            ["Commit", app?.service_ver],
          ]}
        />
        {resources && <Resources resources={resources} />}
        {job.attempts.length > 1 && <Attempts job={job} />}
      </Stack>
    </Section>
  );
}

type Amounts = NonNullable<JobPage["resources"]>;

function Resources({ resources: { requested, used } }: { resources: Amounts }) {
  const of = (name: string) => used?.[name] ?? null;
  const cpu = ["cpu_user_s", "cpu_system_s"].map(of).filter((one) => one !== null);
  const cpuS = cpu.length ? cpu.reduce((sum, one) => sum + one, 0) : null;
  const wall = of("wall_s");
  const memory = of("peak_memory_mb");
  const disk = of("disk_mb") ?? of("peak_disk_mb");
  const busy = cpuS !== null && wall ? cpuS / wall : null;
  const share = (part: number | null, whole: number | null | undefined) =>
    part === null || !whole ? "" : ` (${number((part / whole) * 100)} %)`;
  const rows = [
    [
      "CPU",
      requested.cpus ? `${number(requested.cpus)} cores` : "–",
      cpuS === null
        ? "–"
        : `${duration(cpuS * 1000)} of CPU time${busy === null ? "" : `, ${number(busy, 1)} cores on average${share(busy, requested.cpus)}`}`,
    ],
    [
      "Memory",
      requested.memory_mb ? bytes(requested.memory_mb * 1e6) : "–",
      memory === null ? "–" : `${bytes(memory * 1e6)} at most${share(memory, requested.memory_mb)}`,
    ],
    [
      "Disk",
      requested.disk_gb ? bytes(requested.disk_gb * 1e9) : "–",
      disk === null ? "–" : `${bytes(disk * 1e6)} at most`,
    ],
  ] as const;
  return (
    <Box borderWidth="1px" borderRadius="md" overflowX="auto" maxWidth="56rem">
      <Table.Root size="sm">
        <Table.Header>
          <Table.Row>
            <Table.ColumnHeader>Resource</Table.ColumnHeader>
            <Table.ColumnHeader>Requested</Table.ColumnHeader>
            <Table.ColumnHeader>Used</Table.ColumnHeader>
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {rows.map(([name, asked, got]) => (
            <Table.Row key={name}>
              <Table.Cell>{name}</Table.Cell>
              <Table.Cell>{asked}</Table.Cell>
              <Table.Cell>{got}</Table.Cell>
            </Table.Row>
          ))}
        </Table.Body>
      </Table.Root>
      {used === null && (
        <Text fontSize="sm" color="fg.muted" p="2">
          What is used is known once the job has ended.
        </Text>
      )}
    </Box>
  );
}

function Attempts({ job }: { job: JobPage }) {
  return (
    <Box borderWidth="1px" borderRadius="md" overflowX="auto" maxWidth="56rem">
      <Table.Root size="sm">
        <Table.Header>
          <Table.Row>
            {["Attempt", "State", "Node", "Submitted", "Ran"].map((name) => (
              <Table.ColumnHeader key={name}>{name}</Table.ColumnHeader>
            ))}
          </Table.Row>
        </Table.Header>
        <Table.Body>
          {job.attempts.map((one) => (
            <Table.Row key={one.id}>
              <Table.Cell>
                {one.id === job.id ? (
                  `${one.attempt} (this one)`
                ) : (
                  <PageLink to={`/jobs/${one.id}`} textDecoration="underline">
                    {one.attempt}
                  </PageLink>
                )}
              </Table.Cell>
              <Table.Cell>
                <StateBadge state={one.status} />
              </Table.Cell>
              <Table.Cell>{one.host ?? "–"}</Table.Cell>
              <Table.Cell>
                <Exact at={one.created} />
              </Table.Cell>
              <Table.Cell>
                <Fixed ms={one.run_ms} />
              </Table.Cell>
            </Table.Row>
          ))}
        </Table.Body>
      </Table.Root>
    </Box>
  );
}
