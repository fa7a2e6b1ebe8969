/** The host's colours for charts, which draw in SVG and know no style props. */

import { useChakraContext } from "@chakra-ui/react";

/** Semantic colours by name ("running.solid", "fg.muted") as CSS values that follow the theme. */
export function useColours<Name extends string>(names: readonly Name[]): Record<Name, string> {
  const system = useChakraContext();
  return Object.fromEntries(
    names.map((name) => [name, String(system.token.var(`colors.${name}`, "currentcolor"))]),
  ) as Record<Name, string>;
}
