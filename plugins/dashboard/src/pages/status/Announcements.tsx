/** What administrators want everybody to know, and the dialog in which they say it. */

import { Box, Button, HStack, Stack, Text } from "@chakra-ui/react";
import { Megaphone } from "lucide-react";
import { useState } from "react";

import type { Answer } from "../../app/types";
import { Notice } from "../../parts/Notice";
import { Ago, Exact } from "../../parts/times";
import { AnnouncementsDialog } from "./AnnouncementsDialog";

type Announcement = Answer<"Announcement">;

export function Announcements({
  shown,
  mayEdit,
}: {
  shown: readonly Announcement[];
  mayEdit: boolean;
}) {
  const [editing, setEditing] = useState(false);
  if (!shown.length && !mayEdit) return null;
  return (
    <Box as="section" aria-label="Announcements">
      <Stack gap="2">
        {shown.map((one) => (
          <Notice
            key={`${one.at} ${one.text}`}
            kind={one.level === "warning" ? "warning" : "info"}
            title={
              <Text as="span" fontSize="sm" overflowWrap="anywhere">
                {one.text}
              </Text>
            }
          >
            <Text as="span">
              <bdi>{one.by}</bdi>, <Ago at={one.at} />
              {one.until != null && (
                <>
                  ; until <Exact at={one.until} />
                </>
              )}
            </Text>
          </Notice>
        ))}
      </Stack>
      {mayEdit && (
        <HStack justify="end" mt="2">
          <Button size="xs" variant="outline" onClick={() => setEditing(true)}>
            <Megaphone size={14} aria-hidden />
            {shown.length ? "Edit announcements" : "Announce something"}
          </Button>
          <AnnouncementsDialog open={editing} shown={shown} onClose={() => setEditing(false)} />
        </HStack>
      )}
    </Box>
  );
}
