/** The children of a batch as a table, as far as the page's filter lets them through. */

import { Button, HStack, Text } from "@chakra-ui/react";
import { X } from "lucide-react";
import { useMemo } from "react";

import { useJobList } from "../../app/jobList";
import { bounded, number } from "../../lib/format";
import { BAR_ORDER, look } from "../../lib/states";
import { Empty } from "../../parts/Empty";
import { Trouble } from "../../parts/Freshness";
import { JobTable } from "../../parts/JobTable";
import { useJobActions } from "../../parts/JobActions";
import { Section } from "../../parts/Section";
import type { BatchPage } from "./words";

export type Chosen = Partial<Record<"status" | "failure" | "error", string>>;

/** See the module. scope: all for administrators who look at others' batches. */
export function Children({
  batch,
  chosen,
  onChoose,
  asAdmin,
}: {
  batch: BatchPage;
  chosen: Chosen;
  onChoose: (words: Record<string, string | null>) => void;
  asAdmin: boolean;
}) {
  const list = useJobList({
    scope: asAdmin ? "all" : "mine",
    words: { batch: batch.id, ...chosen },
    sort: "index",
    limit: 100,
  });
  const actions = useJobActions({ asAdmin });
  // Split and aggregate stand among the stages.
  const rows = useMemo(() => list.rows.filter((row) => !row.role), [list.rows]);
  const filtered = Object.values(chosen).some(Boolean);
  const shown = list.count && filtered ? ` (${bounded(list.count)})` : "";
  const states = BAR_ORDER.filter((state) => batch.counts[state]);
  return (
    <Section
      id="children"
      title={`Children${shown}`}
      aside={
        <HStack gap="1" wrap="wrap" role="group" aria-label="Show only children in a state">
          {states.map((state) => {
            const on = chosen.status === state && !chosen.failure && !chosen.error;
            return (
              <Button
                key={state}
                size="xs"
                variant={on ? "solid" : "outline"}
                aria-pressed={on}
                onClick={() => onChoose({ status: on ? null : state, failure: null, error: null })}
              >
                {look(state).word} ({number(batch.counts[state] ?? 0)})
              </Button>
            );
          })}
          {filtered && (
            <Button
              size="xs"
              variant="ghost"
              onClick={() => onChoose({ status: null, failure: null, error: null })}
            >
              <X size={12} aria-hidden /> Show all
            </Button>
          )}
        </HStack>
      }
    >
      {chosen.failure && (
        <Text fontSize="sm" color="fg.muted" mb="2" overflowWrap="anywhere">
          Those that failed with: <bdi>{chosen.failure}</bdi>
        </Text>
      )}
      <Trouble live={list} />
      {rows.length || list.loading ? (
        <JobTable
          label={`Children of ${batch.name}`}
          rows={rows}
          list={list}
          columns={["number", "state", "label", "waited", "ran", "attempt", "error", "node"]}
          actions={actions}
          height="max(360px, calc(100dvh - 220px))"
        />
      ) : (
        !list.error && <Empty title="No child is in this state now." />
      )}
      {actions.dialog}
    </Section>
  );
}
