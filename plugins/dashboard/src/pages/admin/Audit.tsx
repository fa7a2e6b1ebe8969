/** What administrators did with their rights. Nothing in it can be changed. */

import {
  Badge,
  Box,
  Button,
  HStack,
  NativeSelect,
  Field,
  Skeleton,
  Stack,
  Text,
} from "@chakra-ui/react";
import { useInfiniteQuery } from "@tanstack/react-query";
import { Check, CircleDashed, Download, X } from "lucide-react";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { call, type ApiError } from "../../app/api";
import { useHome } from "../../app/home";
import { PageLink } from "../../app/links";
import type { Answer } from "../../app/types";
import { shortId } from "../../lib/format";
import { stale } from "../../lib/stale";
import { query, withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { FormField } from "../../parts/FormField";
import { Freshness, Trouble } from "../../parts/Freshness";
import { Rows, type Column } from "../../parts/Rows";
import { PageHead } from "../../parts/Section";
import { Exact } from "../../parts/times";
import { actChoices, actWords, AUDIT_WORDS, auditFilter, isJobId, outcome } from "./audit";

type Entry = Answer<"Entry">;

const PAGE = 50;
const TARGETS = 3;

export default function Audit() {
  const { api } = useHome();
  const [search] = useSearchParams();
  const filter = auditFilter(search);
  const pages = useInfiniteQuery<Answer<"Page">, ApiError>({
    queryKey: ["api", `${api}/audit`, filter],
    initialPageParam: null,
    getNextPageParam: (last) => last.next,
    queryFn: ({ pageParam, signal }) =>
      call<Answer<"Page">>(
        `${api}/audit${query({ ...filter, limit: PAGE, cursor: pageParam as string | null })}`,
        { signal },
      ),
  });
  const live = {
    readAt: pages.dataUpdatedAt,
    failedAt: pages.isError ? pages.errorUpdatedAt : null,
    error: pages.error,
    busy: pages.isFetching,
    refresh: () => void pages.refetch(),
  };
  const entries = pages.data?.pages.flatMap((page) => page.entries) ?? [];
  return (
    <>
      <PageHead title="Audit">
        <HStack gap="3">
          <Button asChild size="sm" variant="outline">
            <a href={`${api}/audit.csv${query(filter)}`} download="audit.csv">
              <Download size={14} aria-hidden />
              Download table
            </a>
          </Button>
          <Freshness live={live} />
        </HStack>
      </PageHead>
      <Filters />
      <Trouble live={live} />
      {pages.isPending && !pages.error && <Loading />}
      {pages.data && entries.length === 0 && (
        <Empty title="No entries.">
          {Object.keys(filter).length
            ? "Nothing was done that fits this filter."
            : "No administrator has done anything yet."}
        </Empty>
      )}
      {entries.length > 0 && (
        <Box {...stale(live.error?.passing)}>
          <Rows
            label="What administrators did, the newest first"
            columns={COLUMNS}
            rows={entries}
            keyOf={(entry) => entry.id}
          />
          {pages.hasNextPage ? (
            <Button
              size="sm"
              variant="outline"
              mt="3"
              loading={pages.isFetchingNextPage}
              onClick={() => void pages.fetchNextPage()}
            >
              Show older entries
            </Button>
          ) : (
            <Text fontSize="sm" color="fg.muted" mt="3">
              These are all entries{Object.keys(filter).length ? " of this filter" : ""}.
            </Text>
          )}
        </Box>
      )}
    </>
  );
}

const ICONS = { done: Check, failed: X, begun: CircleDashed } as const;

const COLUMNS: Column<Entry>[] = [
  { name: "When", cell: (entry) => <Exact at={entry.at} /> },
  {
    name: "Who",
    cell: (entry) => (
      <PageLink to={`/admin/audit${query({ actor: entry.who })}`}>
        <bdi>{entry.who}</bdi>
      </PageLink>
    ),
  },
  {
    name: "What",
    cell: (entry) => <span title={entry.what}>{actWords(entry.what)}</span>,
  },
  { name: "To what", cell: (entry) => <Targets entry={entry} /> },
  {
    name: "Reason",
    cell: (entry) =>
      entry.reason ? (
        <bdi>{entry.reason}</bdi>
      ) : (
        <Text as="span" color="fg.muted">
          none given
        </Text>
      ),
  },
  {
    name: "Result",
    cell: (entry) => {
      const { word, colour } = outcome(entry.outcome);
      const Icon = Object.hasOwn(ICONS, entry.outcome)
        ? ICONS[entry.outcome as keyof typeof ICONS]
        : CircleDashed;
      return (
        <Stack gap="1" align={{ base: "end", sm: "start" }}>
          <Badge bg={`${colour}.subtle`} color={`${colour}.fg`} size="sm">
            <Icon size={14} aria-hidden />
            {word}
          </Badge>
          {(entry.error ?? entry.details) && (
            <Text fontSize="sm" color="fg.muted">
              {entry.error ?? entry.details}
            </Text>
          )}
        </Stack>
      );
    },
  },
];

function Targets({ entry }: { entry: Entry }) {
  if (!entry.targets) return <>–</>;
  return (
    <Stack gap="0" align={{ base: "end", sm: "start" }}>
      {entry.target.slice(0, TARGETS).map((target) => (
        <HStack key={target} gap="1">
          {isJobId(target) ? (
            <PageLink to={`/jobs/${target}`} fontFamily="mono" title={target}>
              {shortId(target)}
            </PageLink>
          ) : (
            <PageLink to={`/admin/audit${query({ target })}`}>
              <bdi>{target}</bdi>
            </PageLink>
          )}
        </HStack>
      ))}
      {entry.targets > TARGETS && (
        <Text fontSize="sm" color="fg.muted">
          and {entry.targets - Math.min(TARGETS, entry.target.length)} more
        </Text>
      )}
    </Stack>
  );
}

/** The fields that make up the filter; typed text goes to the address after a moment. */
function Filters() {
  const [search, setSearch] = useSearchParams();
  const chosen = search.get("what");
  const any = Object.keys(AUDIT_WORDS).some((word) => search.get(word));
  const set = (word: string) => (value: string) =>
    setSearch((now) => withWords(now, { [word]: value }), { replace: true });
  return (
    <HStack as="search" gap="3" mb="4" align="end" wrap="wrap">
      <Typed label="Who" word="actor" width="36" />
      <Field.Root width="auto">
        <Field.Label>What</Field.Label>
        <NativeSelect.Root size="sm" width="56">
          <NativeSelect.Field
            value={chosen ?? ""}
            onChange={(event) => set("what")(event.target.value)}
          >
            <option value="">anything</option>
            {actChoices(chosen).map((what) => (
              <option key={what} value={what}>
                {actWords(what)}
              </option>
            ))}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
      </Field.Root>
      <Typed label="To what" word="target" width="56" placeholder="id of a job, or “user ana”" />
      <FormField
        label="From (UTC)"
        type="date"
        width="40"
        value={search.get("from") ?? ""}
        onValue={set("from")}
      />
      <FormField
        label="Before (UTC)"
        type="date"
        width="40"
        value={search.get("to") ?? ""}
        onValue={set("to")}
      />
      {any && (
        <Button
          size="sm"
          variant="ghost"
          onClick={() =>
            setSearch((now) =>
              withWords(now, Object.fromEntries(Object.keys(AUDIT_WORDS).map((w) => [w, null]))),
            )
          }
        >
          All entries
        </Button>
      )}
    </HStack>
  );
}

function Typed({
  label,
  word,
  width,
  placeholder,
}: {
  label: string;
  word: string;
  width: string;
  placeholder?: string;
}) {
  const [search, setSearch] = useSearchParams();
  const kept = search.get(word) ?? "";
  const [text, setText] = useState(kept);
  const [before, setBefore] = useState(kept);
  // A link or "All entries" has changed the address.
  if (kept !== before) {
    setBefore(kept);
    setText(kept);
  }
  useEffect(() => {
    if (text.trim() === kept) return;
    const timer = setTimeout(
      () => setSearch((now) => withWords(now, { [word]: text.trim() }), { replace: true }),
      400,
    );
    return () => clearTimeout(timer);
  }, [text, kept, word, setSearch]);
  return (
    <FormField
      label={label}
      type="search"
      width={width}
      placeholder={placeholder}
      value={text}
      onValue={setText}
    />
  );
}

function Loading() {
  return (
    <Stack gap="3" role="status" aria-busy aria-label="Loading">
      {Array.from({ length: 10 }, (_, at) => (
        <Skeleton key={at} height="9" />
      ))}
    </Stack>
  );
}
