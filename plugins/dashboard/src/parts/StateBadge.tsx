import { useChakraContext } from "@chakra-ui/react";
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
import { memo, type CSSProperties } from "react";

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

// Not the host's badge: a table has one in each row, and this is drawn ten times as fast.
const BADGE: CSSProperties = {
  display: "inline-flex",
  verticalAlign: "middle",
  alignItems: "center",
  gap: "4px",
  borderRadius: "4px",
  fontWeight: 500,
  whiteSpace: "nowrap",
  userSelect: "none",
};
const SIZES = {
  xs: { paddingInline: 4, minHeight: 16, fontSize: 10 },
  sm: { paddingInline: 6, minHeight: 20, fontSize: 12 },
  md: { paddingInline: 8, minHeight: 24, fontSize: 14 },
  lg: { paddingInline: 10, minHeight: 28, fontSize: 14 },
} satisfies Record<string, CSSProperties>;

/** A state: icon, word and colour. */
export const StateBadge = memo(function StateBadge({
  state,
  size = "sm",
}: {
  state: string;
  size?: keyof typeof SIZES;
}) {
  const { token } = useChakraContext();
  const { word, colour } = look(state);
  return (
    <span
      data-state={state}
      style={{
        ...BADGE,
        ...SIZES[size],
        background: token.var(`colors.${colour}.subtle`),
        color: token.var(`colors.${colour}.fg`),
      }}
    >
      <StateIcon state={state} size={size === "lg" ? 18 : 14} />
      {word}
    </span>
  );
});
