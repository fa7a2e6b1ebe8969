import { Badge, HStack, Text } from "@chakra-ui/react";
import { PauseCircle } from "lucide-react";

import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { Empty } from "../../parts/Empty";
import { Rows, type Column } from "../../parts/Rows";
import { Ago, Fixed } from "../../parts/times";

type Line = Answer<"GroupLine">;

const COLUMNS: Column<Line>[] = [
  {
    name: "Client group",
    cell: (line) => (
      <HStack gap="2" justify={{ base: "end", sm: "start" }} wrap="wrap">
        <Text as="bdi" fontWeight="medium">
          {line.group}
        </Text>
        {line.drained && <Drained />}
      </HStack>
    ),
  },
  { name: "Waiting", numeric: true, cell: (line) => number(line.waiting) },
  { name: "of them held back", numeric: true, cell: (line) => number(line.held_back) },
  { name: "Running", numeric: true, cell: (line) => number(line.running) },
  {
    name: "Started, last hour",
    numeric: true,
    cell: (line) => number(line.started_last_hour),
  },
  { name: "Median wait", numeric: true, cell: (line) => <Fixed ms={line.median_wait_ms} /> },
  { name: "90 % waited less than", numeric: true, cell: (line) => <Fixed ms={line.p90_wait_ms} /> },
  { name: "Oldest since", numeric: true, cell: (line) => <Ago at={line.oldest} /> },
];

/** The lines of all client groups. */
export function Lines({ groups }: { groups: readonly Line[] }) {
  if (!groups.length) return <Empty title="There are no client groups." />;
  return (
    <>
      <Rows
        label="Queue by client group"
        columns={COLUMNS}
        rows={groups}
        keyOf={(line) => line.group}
      />
      <Text fontSize="sm" color="fg.muted" mt="2">
        Waits are those of the jobs that started in the last hour. Held back: by a limit, a batch’s
        own window, a pause or a drain.
      </Text>
    </>
  );
}

/** The mark of a client group that starts no jobs now. */
export function Drained() {
  return (
    <Badge bg="warning.subtle" color="warning.fg" size="sm" title="Its jobs wait; none is started">
      <PauseCircle size={14} aria-hidden />
      Drained
    </Badge>
  );
}
