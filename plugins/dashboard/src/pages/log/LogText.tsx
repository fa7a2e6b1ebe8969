import { useChakraContext } from "@chakra-ui/react";
import { memo, useMemo, type CSSProperties } from "react";

import { pieces, type Ink, type Mark, type Piece } from "../../lib/ansi";

const INKS: readonly Ink[] = [
  "failed",
  "success",
  "warning",
  "brand",
  "deferred",
  "running",
  "muted",
  "plain",
];

/** The theme's colours as CSS values. Lines are many and short-lived: styles of their own, instead
 * of style props, keep scrolling smooth. */
export interface Inks {
  fg: Record<Ink, string>;
  ground: Record<Ink, string>;
  mark: string;
  chosen: string;
  error: string;
  line: string;
}

/** The theme's colours for lines. */
export function useInks(): Inks {
  const { token } = useChakraContext();
  return useMemo(() => {
    const colour = (name: string) => token.var(`colors.${name}`);
    const each = (of: (ink: Ink) => string) =>
      Object.fromEntries(INKS.map((ink) => [ink, colour(of(ink))])) as Record<Ink, string>;
    return {
      fg: each((ink) => (ink === "plain" ? "fg" : ink === "muted" ? "fg.muted" : `${ink}.fg`)),
      ground: each((ink) =>
        ink === "plain" || ink === "muted" ? "bg.emphasized" : `${ink}.subtle`,
      ),
      mark: colour("warning.muted"),
      chosen: colour("brand.subtle"),
      error: colour("failed.solid"),
      line: colour("fg.muted"),
    };
  }, [token]);
}

function styleOf(piece: Piece, inks: Inks): CSSProperties {
  const ink = piece.ink ?? (piece.faint ? "muted" : undefined);
  // Muted grey is too near to a ground of another colour.
  const shown = ink === "muted" && (piece.ground || piece.marked) ? "plain" : ink;
  return {
    color: shown ? inks.fg[shown] : "inherit",
    background: piece.marked ? inks.mark : piece.ground ? inks.ground[piece.ground] : undefined,
    fontWeight: piece.bold ? 700 : undefined,
    fontStyle: piece.italic ? "italic" : undefined,
    textDecoration:
      [piece.underline && "underline", piece.strike && "line-through"].filter(Boolean).join(" ") ||
      undefined,
  };
}

/** A line of a log: its colours shown, everything else that steers a terminal taken out. */
export const LogText = memo(function LogText({
  text,
  marks,
  inks,
}: {
  text: string;
  marks?: readonly Mark[];
  inks: Inks;
}) {
  const parts = useMemo(() => pieces(text, marks), [text, marks]);
  return (
    <bdi dir="ltr">
      {parts.map((piece, at) =>
        piece.marked ? (
          <mark key={at} style={styleOf(piece, inks)}>
            {piece.text}
          </mark>
        ) : (
          <span key={at} style={styleOf(piece, inks)}>
            {piece.text}
          </span>
        ),
      )}
    </bdi>
  );
});
