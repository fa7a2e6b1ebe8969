/** Whether the window is too narrow for tables (Chakra's `sm`). */

import { useSyncExternalStore } from "react";

const NARROW = "(max-width: 639.98px)";

/** True below 640 px. */
export function useNarrow(): boolean {
  return useSyncExternalStore(
    (listener) => {
      const media = matchMedia(NARROW);
      media.addEventListener("change", listener);
      return () => media.removeEventListener("change", listener);
    },
    () => matchMedia(NARROW).matches,
  );
}
