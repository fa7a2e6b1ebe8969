/** The filter of a page: in its address, and the last one remembered. */

import { useCallback, useEffect, useMemo, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { withWords, wordsOf, type Words } from "../lib/words";

function remembered(page: string): string {
  try {
    return localStorage.getItem(`ee2.filter.${page}`) ?? "";
  } catch {
    return "";
  }
}

function remember(page: string, search: string): void {
  try {
    localStorage.setItem(`ee2.filter.${page}`, search);
  } catch {
    // Remembered by the address only.
  }
}

export interface PageWords {
  search: URLSearchParams;
  words: Words;
  /** Sets words; null takes one out. */
  change: (changes: Partial<Record<string, string | null>>) => void;
  /** Puts a whole filter in the place of this one. */
  put: (search: string) => void;
}

/** The filter in the page's address. Who comes without one finds the last one again; an address that
 * has one, a link say, is left as it is. page: its name. */
export function usePageWords(page: string): PageWords {
  const [search, setSearch] = useSearchParams();
  const [last, setLast] = useState(() => (search.size ? "" : remembered(page)));
  const shown = useMemo(
    () => (search.size || !last ? search : new URLSearchParams(last)),
    [last, search],
  );
  useEffect(() => {
    if (shown !== search) setSearch(shown, { replace: true });
    remember(page, shown.toString());
  }, [page, shown, search, setSearch]);
  const set = useCallback(
    (next: URLSearchParams) => {
      setLast("");
      setSearch(next, { replace: true });
    },
    [setSearch],
  );
  const change = useCallback(
    (changes: Partial<Record<string, string | null>>) => set(withWords(shown, changes)),
    [set, shown],
  );
  const put = useCallback((next: string) => set(new URLSearchParams(next)), [set]);
  const words = useMemo(() => wordsOf(shown), [shown]);
  return useMemo(() => ({ search: shown, words, change, put }), [shown, words, change, put]);
}
