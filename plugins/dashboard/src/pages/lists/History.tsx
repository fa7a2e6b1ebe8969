/** "/jobs/history": what has ended, by date. */

import { Box, Button, Flex, Input, NativeSelect, Text } from "@chakra-ui/react";
import { Download } from "lucide-react";
import { useCallback, useMemo, useRef, useState, type Ref } from "react";

import { useHome } from "../../app/home";
import { useJobList } from "../../app/jobList";
import { useZone } from "../../app/me";
import { usePageWords, type PageWords } from "../../app/pageWords";
import { useNow } from "../../lib/clock";
import { bounded } from "../../lib/format";
import type { Sort } from "../../lib/listWindow";
import { ENDED } from "../../lib/states";
import { day, exactWithZone } from "../../lib/time";
import { query } from "../../lib/words";
import { BulkBar } from "../../parts/BulkBar";
import { Empty } from "../../parts/Empty";
import { FilterBar } from "../../parts/FilterBar";
import { Freshness, Trouble } from "../../parts/Freshness";
import { useJobActions } from "../../parts/JobActions";
import type { ColumnName } from "../../parts/jobColumns";
import { JobTable } from "../../parts/JobTable";
import { PageHead } from "../../parts/Section";
import { SavedFilters } from "../../parts/SavedFilters";
import { DateRuler, type Ruler } from "./DateRuler";
import { FreshPill } from "./FreshPill";
import { lengthOf, spanOf, SPANS, startOfDay, type SpanName } from "./spans";

const STATES = [
  { value: ENDED.join(","), label: "All that ended" },
  { value: "completed", label: "Completed" },
  { value: "error", label: "Failed" },
  { value: "terminated", label: "Cancelled" },
  { value: "error,terminated", label: "Failed or cancelled" },
] as const;
const SORTS: readonly string[] = ["-finished", "finished", "-created", "created"];

export default function History() {
  const filter = usePageWords("history");
  const { search, words, change } = filter;
  const span = spanOf(search);
  const given = search.get("sort") ?? "";
  const sort = (SORTS.includes(given) ? given : "-finished") as Sort;
  // Other people's jobs are listed by one workspace only: that is the API's rule on rights.
  const others = words.ws !== undefined;
  const wanted = { ...words, status: words.status ?? STATES[0].value };
  const scope = others ? "readable" : "mine";
  const recent = lengthOf(span) ?? undefined;

  const [paused, setPaused] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const ruler = useRef<Ruler>(null);
  const list = useJobList({
    scope,
    words: wanted,
    sort,
    limit: 50,
    recent,
    paused: paused || selected.size > 0,
  });
  const actions = useJobActions();
  const seen = useCallback(
    (row: { finished?: number | null; created: number }) =>
      ruler.current?.read((sort.endsWith("created") ? row.created : row.finished) ?? row.created),
    [sort],
  );
  const columns: ColumnName[] = [
    "state",
    "app",
    "narrative",
    ...(words.runs ? (["batch"] as const) : []),
    ...(others ? (["user"] as const) : []),
    "submitted",
    "ended",
    "waited",
    "ran",
    "cpu",
    "error",
  ];
  return (
    <Box>
      <PageHead title="History">
        <Flex align="center" gap="3">
          {list.count && (
            <Text fontSize="sm" color="fg.muted" data-testid="count">
              {bounded(list.count)} {list.count.value === 1 && list.count.exact ? "job" : "jobs"}
            </Text>
          )}
          <Freshness live={list} paused={paused || selected.size > 0} onPause={setPaused} />
        </Flex>
      </PageHead>
      <FilterBar
        filter={filter}
        states={STATES}
        fields={[
          "app",
          "module",
          "ws",
          "group",
          "node",
          "error",
          "ended_by",
          "min_wait",
          "min_run",
          "label",
          "runs",
        ]}
      >
        <SpanChoice filter={filter} span={span} />
        <SavedFilters page="history" filter={filter} />
        <CsvLink words={wanted} scope={scope} sort={sort} recent={recent} />
      </FilterBar>
      <Trouble live={list} />
      <BulkBar selected={selected} clear={() => setSelected(new Set())} rows={list.rows} />
      <FreshPill list={list} />
      <Flex gap="2" align="start">
        <Box flex="1" minWidth="0">
          {list.rows.length || list.loading ? (
            <JobTable
              label="Jobs that have ended"
              rows={list.rows}
              columns={columns}
              list={list}
              actions={actions}
              selected={selected}
              onSelect={setSelected}
              sort={sort}
              onSort={(next) => change({ sort: next === "-finished" ? null : next })}
              onSeen={seen}
            />
          ) : (
            !list.error && (
              <Empty title="No job fits.">
                {span === "week"
                  ? "Nothing ended in the last week that fits the filter. Choose a longer span above."
                  : "Take a filter away or choose a longer span above."}
              </Empty>
            )
          )}
        </Box>
        <Days ref={ruler} filter={filter} span={span} at={list.rows[0]?.finished ?? null} />
      </Flex>
      {actions.dialog}
    </Box>
  );
}

function Days({
  filter,
  span,
  at,
  ref,
}: {
  filter: PageWords;
  span: SpanName;
  at: number | null;
  ref: Ref<Ruler>;
}) {
  const { words, change } = filter;
  const now = useNow();
  // Once a day is enough.
  const today = Math.ceil(now / 86_400_000) * 86_400_000;
  const length = lengthOf(span);
  const from =
    length !== null
      ? today - 86_400_000 - length
      : (millis(words.from) ?? today - 3 * 366 * 86_400_000);
  if (length !== null && length < 2 * 86_400_000) return null;
  return (
    <DateRuler
      ref={ref}
      from={from}
      to={now}
      at={at}
      go={(mark, newest) => change({ to: newest ? null : String(mark.end) })}
    />
  );
}

function millis(text: string | undefined): number | null {
  if (!text) return null;
  const at = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isFinite(at) ? at : null;
}

function SpanChoice({ filter, span }: { filter: PageWords; span: SpanName }) {
  const { words, change } = filter;
  const zone = useZone();
  const dateOf = (text: string | undefined, back = 0) => {
    const at = millis(text);
    return at === null ? "" : day(at - back, zone);
  };
  const to = millis(words.to);
  return (
    <>
      <NativeSelect.Root size="sm" width="40">
        <NativeSelect.Field
          aria-label="Span of time"
          value={span}
          onChange={({ target }) =>
            change({ span: target.value === "week" ? null : target.value, from: null, to: null })
          }
        >
          {SPANS.map(({ value, label }) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </NativeSelect.Field>
        <NativeSelect.Indicator />
      </NativeSelect.Root>
      {span === "custom" ? (
        <Flex gap="1" align="center">
          <Input
            type="date"
            size="sm"
            width="36"
            aria-label="From"
            value={dateOf(words.from)}
            onChange={({ target }) =>
              change({
                span: "custom",
                from: target.value ? String(startOfDay(target.value, zone)) : null,
              })
            }
          />
          <Text aria-hidden>–</Text>
          <Input
            type="date"
            size="sm"
            width="36"
            aria-label="To, with this day"
            value={dateOf(words.to, 1)}
            onChange={({ target }) =>
              change({
                span: "custom",
                to: target.value ? String(startOfDay(target.value, zone) + 86_400_000) : null,
              })
            }
          />
        </Flex>
      ) : (
        to !== null && (
          <Button size="sm" variant="subtle" onClick={() => change({ to: null })}>
            before {exactWithZone(to, zone).slice(0, 16)} ×
          </Button>
        )
      )}
    </>
  );
}

/** The list as a file, made by the server. */
export function CsvLink({
  words,
  scope,
  sort,
  recent,
}: {
  words: Readonly<Record<string, string | undefined>>;
  scope: string;
  sort: string;
  recent?: number;
}) {
  const { api } = useHome();
  const now = useNow();
  const from =
    recent === undefined ? words.from : String(Math.floor((now - recent) / 60_000) * 60_000);
  const href = useMemo(
    () => `${api}/jobs/export.csv${query({ ...words, from, scope, sort })}`,
    [api, words, from, scope, sort],
  );
  return (
    <Button asChild size="sm" variant="outline">
      <a href={href} download title="All rows of the filter, 100,000 at most">
        <Download size={14} aria-hidden /> CSV
      </a>
    </Button>
  );
}
