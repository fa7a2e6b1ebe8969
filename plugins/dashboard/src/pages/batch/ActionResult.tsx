/** What has become of an action on a batch, with the jobs to which it could not be done. */

import { Box, Button, HStack, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { number, plural, shortId } from "../../lib/format";
import { query } from "../../lib/words";
import { Notice } from "../../parts/Notice";
import type { ActionState } from "./follow";

/** The result, in pages. onClose: away with it. */
export function ActionResult({
  id,
  asAdmin,
  onClose,
}: {
  id: string;
  asAdmin: boolean;
  onClose: () => void;
}) {
  const [from, setFrom] = useState(0);
  const live = useLive<ActionState>(`/actions/${id}${query({ from, as_admin: asAdmin })}`, {
    every: (data) => (data?.state === "done" ? null : 2000),
    keep: true,
  });
  const { data } = live;
  if (!data) return null;
  const past = data.action === "retry" ? "retried" : "cancelled";
  const items = [...data.failed.items, ...data.skipped.items];
  const done = data.state === "done";
  return (
    <Box data-testid="action">
      <Notice
        kind={done && data.failed.count ? "warning" : done ? "success" : "info"}
        title={
          done
            ? `${plural(data.done, "job")} ${past}`
            : `${number(data.done)} of ${plural(data.total, "job")} ${past} so far`
        }
        action={
          <Button size="xs" variant="outline" onClick={onClose}>
            Close
          </Button>
        }
      >
        {[
          data.failed.count ? `${number(data.failed.count)} could not be ${past}. ` : "",
          data.skipped.count ? `${number(data.skipped.count)} had changed by then. ` : "",
          data.reason ? `Reason: ${data.reason}` : "",
        ].join("")}
      </Notice>
      {items.length > 0 && (
        <Stack as="ul" listStyleType="none" gap="1" mt="2" fontSize="sm" maxH="60" overflowY="auto">
          {items.map((item) => (
            <HStack as="li" key={item.id} align="start" gap="3">
              <PageLink to={`/jobs/${item.id}`} fontFamily="mono" title={item.id}>
                {shortId(item.id)}…{item.id.slice(-4)}
              </PageLink>
              <Text overflowWrap="anywhere">{item.reason}</Text>
            </HStack>
          ))}
        </Stack>
      )}
      {(from > 0 || data.next !== null) && (
        <HStack mt="2">
          <Button size="xs" variant="outline" disabled={from === 0} onClick={() => setFrom(0)}>
            First
          </Button>
          <Button
            size="xs"
            variant="outline"
            disabled={data.next === null}
            onClick={() => setFrom(data.next ?? 0)}
          >
            More
          </Button>
        </HStack>
      )}
    </Box>
  );
}
