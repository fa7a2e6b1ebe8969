/** What a change of a limit would do, asked while it is typed. */

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import { call, type ApiError } from "../../app/api";
import { useHome } from "../../app/home";
import type { Answer } from "../../app/types";

const PAUSE_MS = 400;

export type Preview = Answer<"Changed">["preview"];

/** The server's answer to `body` once it has not changed for a moment; null asks nothing. */
export function usePreview(body: Answer<"TryOut"> | null): {
  data: Preview | undefined;
  error: ApiError | null;
  /** The answer is not yet for what is typed. */
  busy: boolean;
} {
  const { api } = useHome();
  const now = body === null ? null : JSON.stringify(body);
  const [settled, setSettled] = useState(now);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(now), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [now]);
  const found = useQuery<Preview, ApiError>({
    queryKey: ["preview", api, settled],
    enabled: settled !== null,
    placeholderData: keepPreviousData,
    staleTime: 0,
    queryFn: ({ signal }) =>
      call<Preview>(`${api}/limits/preview`, {
        method: "POST",
        body: JSON.parse(settled ?? "{}") as unknown,
        signal,
      }),
  });
  const busy = now !== settled || found.isFetching;
  if (now === null) return { data: undefined, error: null, busy: false };
  return { data: found.data, error: found.error, busy };
}
