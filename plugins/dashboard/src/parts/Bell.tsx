/** The newest messages to the reader, in the corner of every page. */

import { Box, Button, HStack, Popover, Portal, Stack, Text } from "@chakra-ui/react";
import { Bell as BellIcon, BellDot } from "lucide-react";
import { useState } from "react";

import { PageLink } from "../app/links";
import { useChange, useLive } from "../app/live";
import type { Answer } from "../app/types";
import { bounded } from "../lib/format";
import { Ago } from "./times";

const EVERY_MS = 30_000;
const SHOWN = 10;

type Message = Answer<"Notices">["items"][number];

/** A bell with the number of unread messages; pressed, it shows the newest. */
export function Bell() {
  const live = useLive<Answer<"Notices">>(`/notices?limit=${SHOWN}`, { every: EVERY_MS });
  const read = useChange();
  const [open, setOpen] = useState(false);
  const messages = live.data?.items ?? [];
  const unread = live.data?.unread ?? { value: 0, exact: true };
  const words = unread.value ? `Messages, ${bounded(unread)} unread` : "Messages";
  const newest = messages[0];
  return (
    <Popover.Root
      open={open}
      onOpenChange={(change) => setOpen(change.open)}
      positioning={{ placement: "bottom-end" }}
      lazyMount
      unmountOnExit
    >
      <Popover.Trigger asChild>
        <Button size="xs" variant="ghost" aria-label={words} title={words} data-testid="bell">
          {unread.value ? <BellDot size={16} aria-hidden /> : <BellIcon size={16} aria-hidden />}
          {unread.value > 0 && (
            <Text as="span" fontWeight="semibold" aria-hidden>
              {bounded(unread)}
            </Text>
          )}
        </Button>
      </Popover.Trigger>
      <Portal>
        <Popover.Positioner>
          <Popover.Content
            aria-label="Messages"
            width={{ base: "calc(100vw - 32px)", sm: "420px" }}
          >
            <Popover.Header>
              <HStack justify="space-between">
                <Popover.Title fontWeight="semibold">Messages</Popover.Title>
                {unread.value > 0 && newest && (
                  <Button
                    size="xs"
                    variant="outline"
                    loading={read.isPending}
                    onClick={() =>
                      read.mutate({ path: "/notices/read", body: { until: newest.at } })
                    }
                  >
                    All read
                  </Button>
                )}
              </HStack>
            </Popover.Header>
            <Popover.Body maxHeight="60vh" overflowY="auto">
              {messages.length === 0 ? (
                <Text color="fg.muted">
                  {live.error
                    ? "Messages cannot be shown now."
                    : "No messages yet. Jobs tell you here how they end, if you ask them to."}
                </Text>
              ) : (
                <Stack as="ul" gap="3" listStyleType="none">
                  {messages.map((one) => (
                    <One key={one.id} message={one} onOpen={() => setOpen(false)} />
                  ))}
                </Stack>
              )}
            </Popover.Body>
            <Popover.Footer>
              <PageLink
                to="/settings#notices"
                variant="underline"
                fontSize="sm"
                onClick={() => setOpen(false)}
              >
                What I am told, and where
              </PageLink>
            </Popover.Footer>
          </Popover.Content>
        </Popover.Positioner>
      </Portal>
    </Popover.Root>
  );
}

function One({ message, onOpen }: { message: Message; onOpen: () => void }) {
  const read = useChange();
  const to = message.job_id
    ? `/jobs/${message.job_id}`
    : message.batch_id
      ? `/batches/${message.batch_id}`
      : null;
  const seen = () => {
    if (!message.read) read.mutate({ path: "/notices/read", body: { ids: [message.id] } });
    onOpen();
  };
  return (
    <Box
      as="li"
      borderLeftWidth="3px"
      borderLeftColor={message.read ? "transparent" : "brand.solid"}
      ps="3"
      overflowWrap="anywhere"
      data-read={message.read}
    >
      <Text fontWeight={message.read ? "normal" : "semibold"}>
        {to ? (
          <PageLink to={to} onClick={seen}>
            {message.subject}
          </PageLink>
        ) : (
          message.subject
        )}
        {!message.read && (
          <Text as="span" srOnly>
            {" "}
            unread
          </Text>
        )}
      </Text>
      {message.lines.map((line) => (
        <Text key={line} fontSize="sm">
          {line}
        </Text>
      ))}
      <Text fontSize="sm" color="fg.muted">
        <Ago at={message.at} />
      </Text>
    </Box>
  );
}
