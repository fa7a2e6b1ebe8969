import { Box, Button, HStack, Skeleton, Text } from "@chakra-ui/react";
import { ArrowDown } from "lucide-react";
import { useCallback, useEffect, useRef, useState, type MouseEvent } from "react";
import { Navigate, useParams, useSearchParams } from "react-router-dom";

import { ApiError, said } from "../../app/api";
import { useHome } from "../../app/home";
import { useKeys } from "../../app/keys";
import { PageLink } from "../../app/links";
import { useZone } from "../../app/me";
import { appName, plural } from "../../lib/format";
import { rangeOf, rangeText } from "../../lib/logstore";
import { isLive } from "../../lib/states";
import { withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { Notice } from "../../parts/Notice";
import { PageHead } from "../../parts/Section";
import { StateBadge } from "../../parts/StateBadge";
import { say } from "../../parts/toasts";
import { NoSuchJob } from "../job/NoSuchJob";
import { pathOfPart, useJobPage } from "../job/useJobPage";
import { Chosen } from "./Chosen";
import { LogLines, type LinesHandle, type Times } from "./LogLines";
import { LogTools } from "./LogTools";
import { nextError, useFound, type Wanted } from "./useFound";
import { useLog } from "./useLog";

/** The log of a job, all of it. */
export default function Log() {
  const { id = "" } = useParams();
  return <LogOf key={id} id={id} />;
}

function LogOf({ id }: { id: string }) {
  const { api, root } = useHome();
  const zone = useZone();
  const page = useJobPage(id);
  const { admin } = page;
  const job = page.live.data;
  const { store, read, refresh } = useLog(id, admin);
  const [search, setSearch] = useSearchParams();
  const status = store.status ?? job?.status ?? "";
  const live = isLive(status);

  const range = rangeOf(search.get("line"));
  const wrap = search.get("wrap") === "1";
  const asked = search.get("time");
  const times: Times = asked === "relative" || asked === "clock" ? asked : "off";
  const wanted: Wanted = {
    q: search.get("q") ?? "",
    regex: search.get("regex") === "1",
    case: search.get("case") === "1",
    errors: search.get("level") === "error",
  };
  const found = useFound(id, admin, wanted, live);
  const current = range && found.byLine.has(range[0]) && wanted.q ? range[0] : null;

  const handle = useRef<LinesHandle>(null);
  const field = useRef<HTMLInputElement>(null);
  const [follow, setFollow] = useState(() => !search.get("line") && !search.get("q"));
  const [seenCount, setSeenCount] = useState<number | null>(null);
  const following = follow && live && !wanted.errors;

  const set = useCallback(
    (changes: Partial<Record<string, string | null>>) =>
      setSearch((before) => withWords(before, changes), { replace: true }),
    [setSearch],
  );
  const onFollow = useCallback(
    (on: boolean) => {
      setFollow(on);
      setSeenCount(on ? null : store.count);
    },
    [store],
  );
  const goTo = (n: number) => {
    if (follow) onFollow(false);
    set({ line: String(n) });
    handle.current?.show(n);
  };

  // The address names a line, or what to look for: it is shown once there is something to show.
  const first = useRef(range?.[0] ?? null);
  useEffect(() => {
    if (first.current === null || wanted.errors || !store.count || !handle.current) return;
    // The list has to know its own height first.
    const frame = requestAnimationFrame(() => {
      if (first.current !== null) handle.current?.show(first.current);
      first.current = null;
    });
    return () => cancelAnimationFrame(frame);
  });
  const searched = useRef(range ? wantedText(wanted) : "");
  const { matches } = found;
  const text = wantedText(wanted);
  useEffect(() => {
    if (!wanted.q || found.busy || text === searched.current) return;
    searched.current = text;
    const from = handle.current?.first() ?? 0;
    const next = matches.find((match) => match.n >= from) ?? matches[0];
    if (next) goTo(next.n);
  });

  const step = (forward: boolean) => void stepTo(forward);
  const stepTo = async (forward: boolean) => {
    const here = range?.[0] ?? handle.current?.first() ?? 0;
    const after = (list: typeof matches) => list.find((match) => match.n > here);
    let next = forward ? after(matches) : matches.findLast((match) => match.n < here);
    if (!next && forward && found.more) next = after(await found.readMore());
    next ??= forward ? matches[0] : matches.at(-1);
    if (next) goTo(next.n);
  };
  const toError = async () => {
    try {
      const here = range?.[0] ?? (handle.current?.first() ?? 0) - 1;
      const next = await nextError(api, id, admin, here + 1);
      if (next === null) say({ title: "There is no further error line" });
      else goTo(next);
    } catch (problem) {
      say({ kind: "error", title: "The errors were not found", description: said(problem) });
    }
  };
  const { errors } = wanted;
  const onNumber = useCallback(
    (n: number, event: MouseEvent) => {
      if (!event.shiftKey) {
        if (errors) first.current = n; // in its place among the others, once all are shown again
        return;
      }
      event.preventDefault();
      setSearch(
        (before) => {
          const from = rangeOf(before.get("line"))?.[0] ?? n;
          return withWords(before, { line: rangeText([Math.min(from, n), Math.max(from, n)]) });
        },
        { replace: true },
      );
    },
    [setSearch, errors],
  );
  const onWhole = useCallback(
    (n: number) =>
      void store
        .showWhole(n)
        .catch((problem: unknown) =>
          say({ kind: "error", title: "The line could not be read", description: said(problem) }),
        ),
    [store],
  );
  const searchOf = (n: number) => `?${withWords(search, { line: String(n), level: null })}`;

  useKeys([
    { key: "f", does: "follow the end of the log", run: () => onFollow(!follow) },
    { key: "/", does: "search the log", run: () => field.current?.focus() },
    { key: "n", does: "next match", run: () => step(true) },
    { key: "N", does: "previous match", run: () => step(false) },
    { key: "g", does: "first line", run: () => handle.current?.top() },
    { key: "G", does: "last line", run: () => handle.current?.bottom() },
    { key: "e", does: "next error line", run: () => void toError() },
    { key: "w", does: "wrap long lines", run: () => set({ wrap: wrap ? null : "1" }) },
  ]);

  if (page.none) return <NoSuchJob />;
  if (job?.is_batch) return <Navigate to={`${root}/batches/${job.id}`} replace />;
  const title = job ? appName({ ...job.app }) : "";
  const fresh = seenCount === null || following ? 0 : Math.max(0, store.count - seenCount);
  const trouble = {
    readAt: store.readAt,
    failedAt: store.failedAt,
    error: store.error instanceof ApiError ? store.error : null,
    busy: false,
    refresh,
  };
  const shown = wanted.errors ? matches.length : store.count;
  return (
    <>
      <PageHead
        title={
          <Text as="span" overflowWrap="anywhere">
            Log{" "}
            <PageLink to={`/jobs/${id}`} fontWeight="normal">
              <bdi>{title || "of the job"}</bdi>
            </PageLink>
          </Text>
        }
      >
        <HStack gap="3">
          {status && <StateBadge state={status} />}
          {store.known && <Text fontSize="sm">{plural(store.count, "line")}</Text>}
          <Freshness live={trouble} />
        </HStack>
      </PageHead>
      <LogTools
        wanted={wanted}
        found={found}
        at={current === null ? -1 : matches.findIndex((match) => match.n === current)}
        times={times}
        wrap={wrap}
        live={live}
        follow={following}
        download={{
          text: api + pathOfPart(id, "/log/raw", admin),
          json: api + pathOfPart(id, "/log/raw", admin, { format: "jsonl" }),
        }}
        field={field}
        set={set}
        onFollow={onFollow}
        onStep={step}
      />
      <Trouble live={trouble} />
      {found.error && (
        <Notice kind="error" title="The log was not searched">
          {found.error.message}
        </Notice>
      )}
      {range && <Chosen range={range} read={read} clear={() => set({ line: null })} />}
      {!store.known ? (
        <Skeleton height="max(300px, calc(100dvh - 270px))" />
      ) : shown === 0 ? (
        <Empty title={emptyWords(wanted.errors, found.busy, store.note)} />
      ) : (
        <Box position="relative">
          <LogLines
            store={store}
            version={store.version}
            filter={wanted.errors}
            found={found}
            current={current}
            range={range}
            wrap={wrap}
            times={times}
            start={job?.timings?.running ?? job?.timings?.created ?? null}
            zone={zone}
            follow={following}
            onFollow={onFollow}
            searchOf={searchOf}
            onNumber={onNumber}
            onWhole={onWhole}
            handle={handle}
          />
          {fresh > 0 && (
            <Button
              size="sm"
              position="absolute"
              bottom="4"
              left="50%"
              transform="translateX(-50%)"
              borderRadius="full"
              colorPalette="brand"
              onClick={() => onFollow(true)}
            >
              <ArrowDown size={16} aria-hidden />
              {plural(fresh, "new line")}
            </Button>
          )}
        </Box>
      )}
    </>
  );
}

function wantedText(wanted: Wanted): string {
  return wanted.q ? JSON.stringify(wanted) : "";
}

function emptyWords(errors: boolean, busy: boolean, note: string | null): string {
  if (errors) return busy ? "Looking for error lines" : "No error lines";
  return note ?? "This job printed nothing";
}
