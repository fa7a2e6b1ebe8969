import { Box, chakra, Grid } from "@chakra-ui/react";
import type { ReactNode } from "react";

import { ApiError } from "../../app/api";
import type { Live } from "../../app/live";
import { Notice } from "../../parts/Notice";

/** Names and values; what has no value is left out. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode])[] }) {
  const shown = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return (
    <Grid
      as="dl"
      templateColumns={{ base: "minmax(7rem, auto) 1fr", md: "minmax(10rem, max-content) 1fr" }}
      columnGap="4"
      rowGap="1"
      fontSize="sm"
    >
      {shown.map(([name, value]) => (
        <Box key={name} display="contents">
          <chakra.dt color="fg.muted">{name}</chakra.dt>
          <chakra.dd overflowWrap="anywhere" minWidth="0">
            {value}
          </chakra.dd>
        </Box>
      ))}
    </Grid>
  );
}

/** What went wrong with one part of the page; the other parts go on. */
export function PartTrouble({
  live,
  what,
}: {
  live: Pick<Live<unknown>, "error" | "data">;
  what: string;
}) {
  const { error } = live;
  if (!error || (error instanceof ApiError && error.signedOut)) return null;
  return (
    <Notice kind="warning" title={live.data ? `${what}: not read anew` : `${what}: not to be had`}>
      {error.message} The rest of the page is not concerned.
    </Notice>
  );
}
