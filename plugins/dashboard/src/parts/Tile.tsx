import { Box, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A number that matters, with its name; one that can be pressed filters by it. */
export function Tile({
  label,
  value,
  note,
  colour,
  pressed,
  onClick,
}: {
  label: ReactNode;
  value: ReactNode;
  note?: ReactNode;
  /** A colour family of the host, for the bar at its side. */
  colour?: string;
  pressed?: boolean;
  onClick?: () => void;
}) {
  const body = (
    <>
      <Text color="fg.muted" fontSize="sm">
        {label}
      </Text>
      <Text fontSize="2xl" fontWeight="semibold" lineHeight="1.2" fontVariantNumeric="tabular-nums">
        {value}
      </Text>
      {note && (
        <Text color="fg.muted" fontSize="xs">
          {note}
        </Text>
      )}
    </>
  );
  const look = {
    borderWidth: "1px",
    borderLeftWidth: "4px",
    borderLeftColor: colour ? `${colour}.solid` : "border",
    borderRadius: "md",
    px: "4",
    py: "2",
    minWidth: "32",
    textAlign: "left" as const,
    bg: pressed ? "bg.muted" : "bg",
  };
  return onClick ? (
    <Box asChild {...look} cursor="pointer" _hover={{ bg: "bg.muted" }}>
      <button type="button" aria-pressed={pressed ?? false} onClick={onClick}>
        {body}
      </button>
    </Box>
  ) : (
    <Box {...look}>{body}</Box>
  );
}
