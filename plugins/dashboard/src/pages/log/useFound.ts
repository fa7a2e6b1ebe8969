import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { call, type ApiError } from "../../app/api";
import { useHome } from "../../app/home";
import type { Answer } from "../../app/types";
import { pathOfPart } from "../job/useJobPage";

export type FoundLine = Answer<"FoundLine">;

/** What is looked for in a log. */
export interface Wanted {
  q: string;
  regex: boolean;
  case: boolean;
  /** In error lines only; with an empty `q`: all error lines. */
  errors: boolean;
}

export interface Found {
  /** Whether anything is looked for at all. */
  asked: boolean;
  busy: boolean;
  error: ApiError | null;
  /** The matches that have been read: from the log's begin, without gaps. */
  matches: readonly FoundLine[];
  byLine: ReadonlyMap<number, FoundLine>;
  total: { value: number; exact: boolean };
  /** More matches than these can be read. */
  more: boolean;
  readMore: () => Promise<readonly FoundLine[]>;
}

const AT_ONCE = 1000;
const LIVE_MS = 15_000;
const NONE: readonly FoundLine[] = [];

/** Looks through a whole log, on the server. */
export function useFound(id: string, admin: boolean, wanted: Wanted, live: boolean): Found {
  const { api } = useHome();
  const asked = wanted.q !== "" || wanted.errors;
  const address = (from: number) =>
    api +
    (wanted.q
      ? pathOfPart(id, "/log/search", admin, {
          q: wanted.q,
          regex: wanted.regex,
          case: wanted.case,
          err: wanted.errors,
          from,
          limit: AT_ONCE,
        })
      : pathOfPart(id, "/log/errors", admin, { from, limit: AT_ONCE }));
  const { data, error, isFetching, hasNextPage, fetchNextPage } = useInfiniteQuery<
    Answer<"SearchAnswer">,
    ApiError,
    { pages: Answer<"SearchAnswer">[] },
    readonly string[],
    number
  >({
    queryKey: ["found", address(0)],
    enabled: asked,
    queryFn: ({ pageParam, signal }) =>
      call<Answer<"SearchAnswer">>(address(pageParam), { signal }),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next ?? undefined,
    refetchInterval: live ? LIVE_MS : false,
    refetchOnWindowFocus: false,
    staleTime: live ? 0 : Infinity,
    gcTime: 60_000,
  });
  const pages = asked ? data?.pages : undefined;
  const matches = useMemo(() => pages?.flatMap((page) => page.matches) ?? NONE, [pages]);
  const byLine = useMemo(() => new Map(matches.map((match) => [match.n, match])), [matches]);
  const last = pages?.at(-1);
  return {
    asked,
    busy: asked && isFetching,
    error: asked ? error : null,
    matches,
    byLine,
    total: { value: last?.total ?? 0, exact: last?.exact ?? true },
    more: hasNextPage,
    readMore: async () =>
      (await fetchNextPage()).data?.pages.flatMap((page) => page.matches) ?? NONE,
  };
}

/** The first error line from a line on; null if there is none. */
export async function nextError(
  api: string,
  id: string,
  admin: boolean,
  from: number,
): Promise<number | null> {
  const answer = await call<Answer<"SearchAnswer">>(
    api + pathOfPart(id, "/log/errors", admin, { from, limit: 1 }),
  );
  return answer.matches[0]?.n ?? null;
}
