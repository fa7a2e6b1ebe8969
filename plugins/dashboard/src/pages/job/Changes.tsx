import { Box, Button, Skeleton, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useLive } from "../../app/live";
import type { Answer, JobPage } from "../../app/types";
import { Section } from "../../parts/Section";
import { StateBadge } from "../../parts/StateBadge";
import { Exact } from "../../parts/times";
import { Facts, PartTrouble } from "./Facts";
import { pathOfPart } from "./useJobPage";

/** The changes of the job's state, and who caused them. */
export function Changes({ id, admin, status }: { id: string; admin: boolean; status: string }) {
  const live = useLive<Answer<"Transitions">>(
    pathOfPart(id, "/transitions", admin, { at: status }),
    { keep: true },
  );
  const changes = live.data?.transitions;
  return (
    <Section id="history" title="History">
      <PartTrouble live={live} what="History" />
      {!changes ? (
        !live.error && <Skeleton height="24" />
      ) : (
        <Box borderWidth="1px" borderRadius="md" overflowX="auto">
          <Table.Root size="sm">
            <Table.Header>
              <Table.Row>
                {["When", "State", "By", "What was said"].map((name) => (
                  <Table.ColumnHeader key={name}>{name}</Table.ColumnHeader>
                ))}
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {changes.map((one, at) => (
                <Table.Row key={at}>
                  <Table.Cell>
                    <Exact at={one.at} />
                  </Table.Cell>
                  <Table.Cell>{one.to ? <StateBadge state={one.to} /> : "–"}</Table.Cell>
                  <Table.Cell overflowWrap="anywhere">
                    <bdi>{one.user ? `${one.user} (${one.by})` : one.by}</bdi>
                  </Table.Cell>
                  <Table.Cell overflowWrap="anywhere">
                    <bdi>{[one.words, one.reason].filter(Boolean).join(": ")}</bdi>
                  </Table.Cell>
                </Table.Row>
              ))}
            </Table.Body>
          </Table.Root>
        </Box>
      )}
    </Section>
  );
}

/** For administrators: the record as it is stored. */
export function AdminBox({
  admin,
  schedulerId,
}: {
  admin: NonNullable<JobPage["admin"]>;
  schedulerId: string | null;
}) {
  const [open, setOpen] = useState(false);
  return (
    <Section
      id="admin"
      title="For administrators"
      aside={
        <Button size="xs" variant="outline" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Hide the record" : "Show the record"}
        </Button>
      }
    >
      <Facts
        facts={[
          ["Scheduler", admin.scheduler_type],
          ["Scheduler's id", schedulerId],
          ["Cancelled by", admin.cancelled_by],
          ["Live for the engine", admin.live ? "yes" : "no"],
        ]}
      />
      {open && (
        <Box
          as="pre"
          tabIndex={0}
          borderWidth="1px"
          borderRadius="md"
          p="3"
          mt="2"
          fontSize="xs"
          maxHeight="30rem"
          overflow="auto"
          whiteSpace="pre-wrap"
          overflowWrap="anywhere"
        >
          {JSON.stringify(admin.record, null, 2)}
        </Box>
      )}
      {open && admin.cut && (
        <Text fontSize="sm" color="fg.muted">
          Long values are shortened.
        </Text>
      )}
    </Section>
  );
}
