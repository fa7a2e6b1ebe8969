import {
  Box,
  Button,
  Dialog,
  Field,
  HStack,
  Input,
  NativeSelect,
  Stack,
  Text,
  Textarea,
} from "@chakra-ui/react";
import { useState } from "react";

import { said } from "../../app/api";
import { useChange } from "../../app/live";
import { useZone } from "../../app/me";
import type { Answer } from "../../app/types";
import { Notice } from "../../parts/Notice";
import { exact } from "../../lib/time";
import { atOf } from "../settings/zones";
import { Popup } from "../../parts/Popup";

const MOST = 10;

interface Draft {
  key: number;
  text: string;
  level: "information" | "warning";
  /** As the browser's field for dates and times has it, in the reader's zone; "": for ever. */
  until: string;
}

/** Puts other announcements in the place of those that stand on the status page. */
export function AnnouncementsDialog({
  open,
  shown,
  onClose,
}: {
  open: boolean;
  shown: readonly Answer<"Announcement">[];
  onClose: () => void;
}) {
  return (
    <Popup open={open} onClose={onClose} size="lg" scrollBehavior="inside">
      <Inside shown={shown} onClose={onClose} />
    </Popup>
  );
}

function Inside({
  shown,
  onClose,
}: {
  shown: readonly Answer<"Announcement">[];
  onClose: () => void;
}) {
  const zone = useZone();
  const change = useChange();
  const [drafts, setDrafts] = useState<Draft[]>(() =>
    shown.length
      ? shown.map((one, key) => ({
          key,
          text: one.text,
          level: one.level,
          until: one.until == null ? "" : exact(one.until, zone).slice(0, 16).replace(" ", "T"),
        }))
      : [{ key: 0, text: "", level: "information", until: "" }],
  );
  const edit = (key: number, to: Partial<Draft>) =>
    setDrafts((all) => all.map((one) => (one.key === key ? { ...one, ...to } : one)));
  const save = async () => {
    try {
      await change.mutateAsync({
        path: "/announcements",
        method: "PUT",
        body: drafts
          .filter(({ text }) => text.trim())
          .map(({ text, level, until }) => ({
            text: text.trim(),
            level,
            until: until ? atOf(until, zone) : null,
          })),
      });
      onClose();
    } catch {
      // Shown below.
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <Dialog.Header>
        <Dialog.Title>Announcements</Dialog.Title>
      </Dialog.Header>
      <Dialog.Body maxHeight="60vh" overflowY="auto">
        <Stack gap="4">
          <Text color="fg.muted" fontSize="sm">
            Everybody who may sign in reads them on the status page, as plain text.
          </Text>
          {drafts.length === 0 && <Text>None is shown once this is saved.</Text>}
          {drafts.map((one, at) => (
            <Box key={one.key} borderWidth="1px" borderRadius="md" p="3">
              <Field.Root>
                <Field.Label>Text {at + 1}</Field.Label>
                <Textarea
                  value={one.text}
                  maxLength={1000}
                  onChange={(event) => edit(one.key, { text: event.target.value })}
                />
              </Field.Root>
              <HStack gap="3" mt="2" align="end" wrap="wrap">
                <Field.Root width="auto">
                  <Field.Label>Kind</Field.Label>
                  <NativeSelect.Root size="sm">
                    <NativeSelect.Field
                      value={one.level}
                      onChange={(event) =>
                        edit(one.key, {
                          level: event.target.value === "warning" ? "warning" : "information",
                        })
                      }
                    >
                      <option value="information">Information</option>
                      <option value="warning">Warning</option>
                    </NativeSelect.Field>
                    <NativeSelect.Indicator />
                  </NativeSelect.Root>
                </Field.Root>
                <Field.Root width="auto">
                  <Field.Label>Until ({zone})</Field.Label>
                  <Input
                    size="sm"
                    type="datetime-local"
                    value={one.until}
                    onChange={(event) => edit(one.key, { until: event.target.value })}
                  />
                </Field.Root>
                <Button
                  size="sm"
                  variant="ghost"
                  onClick={() => setDrafts((all) => all.filter(({ key }) => key !== one.key))}
                >
                  Take it away
                </Button>
              </HStack>
            </Box>
          ))}
          {drafts.length < MOST && (
            <Button
              size="sm"
              variant="outline"
              alignSelf="start"
              onClick={() =>
                setDrafts((all) => [
                  ...all,
                  {
                    key: Math.max(-1, ...all.map(({ key }) => key)) + 1,
                    text: "",
                    level: "information",
                    until: "",
                  },
                ])
              }
            >
              Add another
            </Button>
          )}
          {change.error && (
            <Notice kind="error" title="This was not saved">
              {said(change.error)}
            </Notice>
          )}
        </Stack>
      </Dialog.Body>
      <Dialog.Footer>
        <Button variant="outline" onClick={onClose}>
          Leave as it is
        </Button>
        <Button type="submit" colorPalette="brand" loading={change.isPending}>
          Save
        </Button>
      </Dialog.Footer>
    </form>
  );
}
