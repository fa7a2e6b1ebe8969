/** A page of figures that the server takes every so often. */

import { Badge, Box, HStack, Skeleton, Stack } from "@chakra-ui/react";
import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";

import type { Live } from "../app/live";
import { useZone } from "../app/me";
import { stale } from "../lib/stale";
import { clock, zoneName } from "../lib/time";
import { Freshness, Trouble } from "./Freshness";
import { PageHead } from "./Section";

interface Figures {
  as_of: number | null;
  note: string | null;
}

/** Its head with the age of the figures, what does not work, and the figures once they are there. */
export function FiguresPage<T extends Figures>({
  title,
  live,
  children,
}: {
  title: string;
  live: Live<T>;
  children: (figures: T) => ReactNode;
}) {
  const figures = live.data;
  return (
    <>
      <PageHead title={title}>
        <HStack gap="3">
          {figures && <Late asOf={figures.as_of} note={figures.note} />}
          <Freshness live={live} />
        </HStack>
      </PageHead>
      <Stack gap="3">
        <Trouble live={live} />
        {!figures && !live.error && (
          <Stack gap="3" role="status" aria-busy aria-label="Loading">
            <Skeleton height="8" width="80" />
            <Skeleton height="20" />
            <Skeleton height="64" />
            <Skeleton height="32" />
          </Stack>
        )}
      </Stack>
      {figures && <Box {...stale(live.error?.passing)}>{children(figures)}</Box>}
    </>
  );
}

/** "figures from 14:02", if those who take them are late. */
function Late({ asOf, note }: { asOf: number | null; note: string | null }) {
  const zone = useZone();
  if (!note) return null;
  const said =
    asOf === null ? note : `figures from ${clock(asOf, zone).slice(0, 5)} ${zoneName(asOf, zone)}`;
  return (
    <Badge bg="warning.subtle" color="warning.fg" size="sm" title={note} data-testid="late">
      <CircleAlert size={14} aria-hidden />
      {said}
    </Badge>
  );
}
