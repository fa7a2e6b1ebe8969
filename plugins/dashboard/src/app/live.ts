/** What a page shows of the server: read, kept fresh, and honest about its age. */

import {
  keepPreviousData,
  QueryClient,
  useMutation,
  useQuery,
  useQueryClient,
} from "@tanstack/react-query";
import { useId } from "react";

import { ApiError, call } from "./api";
import { useHome } from "./home";

const SLOWEST_MS = 60_000;

/** Consecutive failures of each query, by its key. */
const failures = new Map<string, number>();

/**
 * Browsers that began to ask at one moment drift apart. Drawn once: TanStack Query begins to wait
 * anew when a drawing gives another interval, so one that differed each time would never be over
 * on a page that counts seconds.
 */
const JITTER = 0.9 + Math.random() * 0.2;

/** When to ask again: every `every` ms, give or take a tenth; twice as long after each failure. */
export function pause(every: number, failed: number, retryAfterS: number | null): number {
  if (!failed) return every * JITTER;
  const slowed = Math.min(SLOWEST_MS, Math.max(every, 3000) * 2 ** Math.min(failed, 6));
  return Math.max(slowed, (retryAfterS ?? 0) * 1000) * JITTER;
}

export function createClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        retry: false,
        staleTime: 1000,
        gcTime: 5 * 60_000,
        refetchOnWindowFocus: "always",
        refetchIntervalInBackground: false,
        networkMode: "always",
      },
      mutations: { retry: false, networkMode: "always" },
    },
  });
}

export interface LiveOptions<T> {
  /** Asked again after this many ms; null or 0: only on demand. May look at the newest answer. */
  every?: number | null | ((data: T | undefined) => number | null);
  enabled?: boolean;
  /** Go on showing the answer of the address before while a new one is read (paging, filters). */
  keep?: boolean;
}

export interface Live<T> {
  data: T | undefined;
  error: ApiError | null;
  /** Nothing to show yet. */
  loading: boolean;
  /** A call is under way. */
  busy: boolean;
  /** When the data was read; ms of this browser's clock. */
  readAt: number;
  /** When it failed last, if it has not been read since. */
  failedAt: number | null;
  /** Since when there is no answer, counting from the first failure in a row. */
  refresh: () => void;
}

/** The answer of `path` (below the API's address, with its query string), kept fresh. */
export function useLive<T>(path: string | null, options: LiveOptions<T> = {}): Live<T> {
  const { api } = useHome();
  const url = path === null ? "" : api + path;
  const { every = null, enabled = true, keep = false } = options;
  const query = useQuery<T, ApiError>({
    queryKey: ["api", url],
    enabled: enabled && path !== null,
    placeholderData: keep ? keepPreviousData : undefined,
    queryFn: async ({ signal }) => {
      try {
        const answer = await call<T>(url, { signal });
        failures.delete(url);
        return answer;
      } catch (error) {
        if (!signal.aborted) failures.set(url, (failures.get(url) ?? 0) + 1);
        throw error;
      }
    },
    refetchInterval: ({ state }) => {
      const failed = failures.get(url) ?? 0;
      if (state.error && !state.error.passing) return false;
      const period = typeof every === "function" ? every(state.data) : every;
      if (!period) return failed ? pause(10_000, failed, state.error?.retryAfterS ?? null) : false;
      return pause(period, failed, state.error?.retryAfterS ?? null);
    },
  });
  return {
    data: query.data,
    error: query.error,
    loading: query.isPending && query.fetchStatus !== "idle",
    busy: query.isFetching,
    readAt: query.dataUpdatedAt,
    failedAt: query.isError ? query.errorUpdatedAt : null,
    refresh: () => void query.refetch(),
  };
}

/** Changes, one after the other; after each what is shown is read anew. */
export function useChange<T = unknown>() {
  const { api } = useHome();
  const client = useQueryClient();
  const id = useId();
  return useMutation<
    T,
    ApiError,
    { path: string; method?: "POST" | "PUT" | "DELETE"; body?: unknown }
  >({
    scope: { id }, // two at once might be done in the wrong order
    mutationFn: ({ path, method = "POST", body }) => call<T>(api + path, { method, body }),
    onSettled: () => client.invalidateQueries({ queryKey: ["api"], refetchType: "active" }),
  });
}
