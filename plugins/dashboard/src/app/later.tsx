/** Pages whose code is read when it is needed, or before, once the first page stands.
 *
 * React alone (`lazy`) holds what was waited for back until 300 ms after the sign of waiting was
 * shown, also where the code has long been there.
 */

import { lazy, useEffect, useState, type ComponentType } from "react";

const readers: (() => Promise<void>)[] = [];

/** A page of this code. */
export function later(read: () => Promise<{ default: ComponentType }>): ComponentType {
  let page: ComponentType = lazy(read);
  readers.push(async () => {
    page = (await read()).default;
  });
  return function Later() {
    const [Page] = useState(() => page);
    return <Page />;
  };
}

const AFTER_MS = 1000;

/** Reads the code of all pages soon. A page that cannot be read says so when it is opened. */
export function useAllPages(): void {
  useEffect(() => {
    const timer = setTimeout(() => {
      void Promise.allSettled(readers.map((read) => read()));
    }, AFTER_MS);
    return () => clearTimeout(timer);
  }, []);
}
