import { Box, Skeleton, Stack, Text } from "@chakra-ui/react";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { number, plural } from "../../lib/format";
import { stale } from "../../lib/stale";
import { Trouble } from "../../parts/Freshness";

/** What holds for the reader's jobs, and who set it. */
export function MyLimits() {
  const live = useLive<Answer<"Mine">>("/limits/mine", { every: 60_000 });
  const mine = live.data;
  if (!mine) return live.error ? <Trouble live={live} /> : <Skeleton height="16" />;
  const words = [
    mine.limit === null
      ? "As many of your jobs as there is room for may run at once."
      : mine.limit === 0
        ? "Your jobs may not start now."
        : `Up to ${plural(mine.limit, "job")} of yours may run at once.`,
    `${number(mine.running)} run and ${number(mine.waiting)} wait now` +
      (mine.held_back ? `, ${number(mine.held_back)} of them for this limit.` : "."),
  ].join(" ");
  const others = [
    ...mine.rules.map((rule) => `Run time: ${rule.words}`),
    ...Object.values(mine.sizes).map((size) => size.words),
  ];
  return (
    <Stack gap="2" {...stale(live.error?.passing)} overflowWrap="anywhere">
      <Trouble live={live} />
      <Text>{words}</Text>
      {mine.words && (
        <Text fontSize="sm" color="fg.muted">
          {mine.words}
        </Text>
      )}
      {others.length > 0 && (
        <Box as="ul" ps="5" listStyleType="disc" fontSize="sm">
          {others.map((one) => (
            <li key={one}>{one}</li>
          ))}
        </Box>
      )}
      <Text fontSize="sm" color="fg.muted">
        Who owns an app may say how long its jobs may run:{" "}
        <PageLink to="/admin/limits/runtime" variant="underline">
          run time of your apps
        </PageLink>
        .
      </Text>
    </Stack>
  );
}
