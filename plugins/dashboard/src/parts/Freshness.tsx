/** How old what is shown is, and what goes on when the server does not answer. */

import { Button, HStack, Text } from "@chakra-ui/react";
import { Pause, Play, RefreshCw } from "lucide-react";
import { type ReactNode } from "react";

import type { Live } from "../app/live";
import { useZone } from "../app/me";
import { useNow } from "../lib/clock";
import { clock, relative } from "../lib/time";
import { Notice } from "./Notice";

type Shown = Pick<Live<unknown>, "readAt" | "failedAt" | "error" | "busy" | "refresh">;

/** "updated 3 s ago", a button that reads anew, and one that holds the page still. */
export function Freshness({
  live,
  paused,
  onPause,
}: {
  live: Shown;
  paused?: boolean;
  onPause?: (paused: boolean) => void;
}) {
  const now = useNow();
  return (
    <HStack gap="1" color="fg.muted" fontSize="sm" flexShrink="0">
      <Text whiteSpace="nowrap" data-testid="freshness">
        {paused ? "paused, " : ""}
        {live.readAt ? `updated ${relative(Math.min(live.readAt, now), now)}` : "not read yet"}
      </Text>
      <Button
        size="xs"
        variant="ghost"
        aria-label="Read anew"
        title="Read anew"
        onClick={live.refresh}
        loading={live.busy && !live.readAt}
      >
        <RefreshCw size={14} aria-hidden />
      </Button>
      {onPause && (
        <Button
          size="xs"
          variant="ghost"
          aria-pressed={paused}
          aria-label={paused ? "Go on" : "Hold still"}
          title={paused ? "Go on" : "Hold still"}
          onClick={() => onPause(!paused)}
        >
          {paused ? <Play size={14} aria-hidden /> : <Pause size={14} aria-hidden />}
        </Button>
      )}
    </HStack>
  );
}

/** A bar for what does not work at the moment; nothing while all is well. */
export function Trouble({ live }: { live: Shown }) {
  const zone = useZone();
  const { error, failedAt } = live;
  if (!error || failedAt === null || error.signedOut) return null;
  const again = (
    <Button size="xs" variant="outline" onClick={live.refresh}>
      Try now
    </Button>
  );
  if (error.status === 429)
    return (
      <Notice kind="warning" title="Slowed down" action={again}>
        {error.message}
      </Notice>
    );
  if (error.passing) {
    const since = live.readAt ? ` since ${clock(live.readAt, zone)}` : "";
    const what: ReactNode = live.readAt
      ? "What you see is as it was then. Trying again by itself."
      : "Trying again by itself.";
    return (
      <Notice kind="warning" title={`No answer${since}`} action={again}>
        {what} {error.status ? error.message : ""}
      </Notice>
    );
  }
  return (
    <Notice kind="error" title="This could not be shown">
      {error.message}
    </Notice>
  );
}
