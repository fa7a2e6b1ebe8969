import { Badge } from "@chakra-ui/react";
import {
  Activity,
  Ban,
  CalendarClock,
  Check,
  CircleDashed,
  ClockAlert,
  ListOrdered,
  Redo2,
  Timer,
  Unlink,
  X,
  type LucideIcon,
} from "lucide-react";
import { memo } from "react";

import { look } from "../lib/states";

const ICONS: Record<string, LucideIcon> = {
  created: CircleDashed,
  estimating: CalendarClock,
  queued: ListOrdered,
  running: Activity,
  completed: Check,
  error: X,
  terminated: Ban,
  cancelling: Timer,
  retried: Redo2,
  near_limit: ClockAlert,
  silent: Unlink,
};

/** A state's icon alone; the word has to stand beside it. */
export function StateIcon({ state, size = 14 }: { state: string; size?: number }) {
  const Icon = ICONS[state] ?? CircleDashed;
  return <Icon size={size} aria-hidden style={{ flexShrink: 0 }} />;
}

/** A state: icon, word and colour. */
export const StateBadge = memo(function StateBadge({
  state,
  size = "sm",
}: {
  state: string;
  size?: "xs" | "sm" | "md" | "lg";
}) {
  const { word, colour } = look(state);
  return (
    <Badge
      size={size}
      bg={`${colour}.subtle`}
      color={`${colour}.fg`}
      data-state={state}
      gap="1"
      whiteSpace="nowrap"
    >
      <StateIcon state={state} size={size === "lg" ? 18 : 14} />
      {word}
    </Badge>
  );
});
