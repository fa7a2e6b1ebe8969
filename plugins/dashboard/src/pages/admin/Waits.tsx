import { Badge, Box, HStack, Stack, Text } from "@chakra-ui/react";
import { CircleAlert } from "lucide-react";

import { PageLink } from "../../app/links";
import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { Empty } from "../../parts/Empty";
import { isStuck, jobsAt, reasonWords } from "./overview";

/** Why the jobs in line wait, the commonest reason first; each with the groups that it concerns. */
export function Waits({ waiting }: { waiting: readonly Answer<"WaitingFor">[] }) {
  if (!waiting.length) return <Empty title="No job waits." />;
  const most = Math.max(...waiting.map(({ count }) => count));
  return (
    <Stack as="ul" gap="3" listStyleType="none">
      {waiting.map((one) => (
        <Box as="li" key={one.code} data-reason={one.code}>
          <HStack justify="space-between" gap="3">
            <HStack gap="2">
              <Text fontWeight="medium">{reasonWords(one.code)}</Text>
              {isStuck(one.code) && (
                <Badge bg="failed.subtle" color="failed.fg" size="sm">
                  <CircleAlert size={14} aria-hidden />
                  Needs somebody
                </Badge>
              )}
            </HStack>
            <Text fontVariantNumeric="tabular-nums" fontWeight="semibold">
              {number(one.count)}
            </Text>
          </HStack>
          <Box height="6px" borderRadius="sm" bg="bg.emphasized" my="1" aria-hidden>
            <Box
              height="100%"
              borderRadius="sm"
              bg={isStuck(one.code) ? "failed.solid" : "queued.solid"}
              style={{ width: `${Math.max(1, (one.count / most) * 100)}%` }}
            />
          </Box>
          <HStack gap="3" fontSize="sm" wrap="wrap">
            {Object.entries(one.groups).map(([group, count]) => (
              <PageLink key={group} variant="underline" to={jobsAt({ status: "queued", group })}>
                <bdi>{group}</bdi> {number(count)}
              </PageLink>
            ))}
          </HStack>
          <Text fontSize="sm" color="fg.muted" overflowWrap="anywhere">
            For example: {one.example}
          </Text>
        </Box>
      ))}
    </Stack>
  );
}
