/** "/admin/jobs": all jobs of all users, for administrators. */

import { Box, Button, Flex, Text } from "@chakra-ui/react";
import { Ban } from "lucide-react";
import { useState } from "react";

import type { BulkWish } from "../../app/bulk";
import { useJobList } from "../../app/jobList";
import { useMe } from "../../app/me";
import { usePageWords } from "../../app/pageWords";
import { bounded } from "../../lib/format";
import type { Sort } from "../../lib/listWindow";
import { ENDED } from "../../lib/states";
import { BulkBar, BulkDialog } from "../../parts/BulkBar";
import { Empty } from "../../parts/Empty";
import { FilterBar } from "../../parts/FilterBar";
import { Freshness, Trouble } from "../../parts/Freshness";
import { useJobActions } from "../../parts/JobActions";
import type { ColumnName } from "../../parts/jobColumns";
import { JobTable } from "../../parts/JobTable";
import { PageHead } from "../../parts/Section";
import { SavedFilters } from "../../parts/SavedFilters";
import { Facets } from "./Facets";
import { FreshPill } from "./FreshPill";
import { CsvLink } from "./History";
import { JumpTo } from "./JumpTo";

const STATES = [
  { value: "", label: "Any state" },
  { value: "live", label: "Not ended" },
  { value: "running", label: "Running" },
  { value: "queued", label: "Queued" },
  { value: "created,estimating", label: "Preparing" },
  { value: ENDED.join(","), label: "Ended" },
  { value: "completed", label: "Completed" },
  { value: "error", label: "Failed" },
  { value: "terminated", label: "Cancelled" },
] as const;
const SORTS: readonly string[] = ["-finished", "finished", "-created", "created"];
const FIRST = ["state", "app", "user"] as const;
const LAST = ["submitted", "group", "node", "scheduler", "narrative"] as const;

/** What one wants to know of jobs in these states, most of it first. */
function columnsOf(status: string | undefined): readonly ColumnName[] {
  if (onlyEnded(status)) return [...FIRST, "ended", "waited", "ran", "error", ...LAST];
  if (status) return [...FIRST, "waited", "running", "stand", "limit", ...LAST];
  return [...FIRST, "waited", "ran", "ended", "error", ...LAST, "limit"];
}

/** Whether a list of these states can be sorted by the end. */
function onlyEnded(status: string | undefined): boolean {
  return Boolean(status?.split(",").every((state) => (ENDED as readonly string[]).includes(state)));
}

export default function AdminJobs() {
  const me = useMe();
  const filter = usePageWords("admin");
  const { search, words, change } = filter;
  const ended = onlyEnded(words.status);
  const given = search.get("sort") ?? "";
  const fits = SORTS.includes(given) && (ended || !given.endsWith("finished"));
  const sort = (fits ? given : ended ? "-finished" : "-created") as Sort;
  const scheduler = search.get("scheduler") ?? undefined;
  const wanted = { ...words, scheduler };

  const [paused, setPaused] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [wish, setWish] = useState<BulkWish | null>(null);
  const list = useJobList({
    scope: "all",
    words: wanted,
    sort,
    limit: 50,
    paused: paused || selected.size > 0,
  });
  const actions = useJobActions({ asAdmin: true });
  const filtered = Object.fromEntries(
    Object.entries(words).filter(([word, said]) => said !== undefined && word !== "runs"),
  );
  const cancelAll = () =>
    setWish({
      action: "cancel",
      filter: { status: "live", ...filtered },
      sort: "-created",
      asAdmin: true,
    });
  return (
    <Box>
      <PageHead title="All jobs">
        <Flex align="center" gap="3" wrap="wrap">
          <JumpTo find={(q) => change({ q })} />
          {list.count && (
            <Text fontSize="sm" color="fg.muted" data-testid="count">
              {bounded(list.count)} jobs
            </Text>
          )}
          <Freshness live={list} paused={paused || selected.size > 0} onPause={setPaused} />
        </Flex>
      </PageHead>
      <FilterBar
        filter={filter}
        states={STATES}
        fields={[
          "user",
          "app",
          "module",
          "group",
          "node",
          "ws",
          "batch",
          "error",
          "ended_by",
          "min_wait",
          "min_run",
          "scheduler",
          "runs",
        ]}
      >
        <SavedFilters page="admin" filter={filter} />
        <CsvLink words={wanted} scope="all" sort={sort} />
        {me.is_admin && !ended && (
          <Button
            size="sm"
            variant="outline"
            colorPalette="danger"
            disabled={!Object.keys(filtered).length}
            title={
              Object.keys(filtered).length
                ? "Cancel all jobs of this filter that have not ended"
                : "Set a filter first"
            }
            onClick={cancelAll}
          >
            <Ban size={14} aria-hidden /> Cancel all of the filter
          </Button>
        )}
      </FilterBar>
      <Trouble live={list} />
      <BulkBar selected={selected} clear={() => setSelected(new Set())} rows={list.rows} asAdmin />
      <FreshPill list={list} />
      <Flex gap="4" align="start">
        <Facets filter={filter} paused={paused} />
        <Box flex="1" minWidth="0">
          {list.rows.length || list.loading ? (
            <JobTable
              label="All jobs"
              rows={list.rows}
              columns={[...columnsOf(words.status), ...(words.runs ? (["batch"] as const) : [])]}
              list={list}
              actions={actions}
              selected={selected}
              onSelect={setSelected}
              sort={sort}
              onSort={(next) =>
                change({
                  sort: next,
                  ...(next.endsWith("finished") && !ended ? { status: ENDED.join(",") } : {}),
                })
              }
            />
          ) : (
            !list.error && <Empty title="No job fits.">Take a filter away.</Empty>
          )}
        </Box>
      </Flex>
      {wish && <BulkDialog wish={wish} others close={() => setWish(null)} />}
      {actions.dialog}
    </Box>
  );
}
