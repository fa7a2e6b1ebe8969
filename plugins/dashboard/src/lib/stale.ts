/** How what may be out of date looks: grey, and as readable as before (also where one such part
 * stands in another). To be spread into the props of a box. */
export function stale(is: unknown): { filter?: string; opacity?: number } {
  return is ? { filter: "grayscale(1)", opacity: 0.9 } : {};
}
