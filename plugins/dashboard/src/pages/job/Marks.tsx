/** The reader's own marks on a job: star, labels, and being told of it. */

import {
  Button,
  Checkbox,
  HStack,
  Input,
  Popover,
  Portal,
  Stack,
  Tag,
  Text,
} from "@chakra-ui/react";
import { Bell, BellRing, Plus, Star } from "lucide-react";
import { useState } from "react";

import { useChange, useLive } from "../../app/live";
import type { Answer, JobPage } from "../../app/types";
import { say } from "../../parts/toasts";
import { pathOfPart } from "./useJobPage";

type Tags = NonNullable<JobPage["tags"]>;
const LONGEST_LABEL = 40;

/** The field was asked for by a click: one goes on typing in it. */
const focusNew = (field: HTMLInputElement | null) => field?.focus();

/** Star and labels; nobody else sees them. */
export function Marks({ id, admin, tags }: { id: string; admin: boolean; tags: Tags }) {
  const change = useChange<Tags>();
  const [adding, setAdding] = useState(false);
  // What this page has asked for counts from then on; an older answer may still be under way.
  const [wanted, setWanted] = useState<Tags | null>(null);
  const shown = wanted ?? tags;
  const put = (next: Tags) => {
    setWanted(next);
    change.mutate(
      { path: pathOfPart(id, "/tags", admin), method: "PUT", body: next },
      {
        onError: (problem) => {
          setWanted(null);
          say({ kind: "error", title: "This was not noted", description: problem.message });
        },
      },
    );
  };
  const star = shown.star ? "Take the star away" : "Put a star on it";
  return (
    <HStack gap="1" wrap="wrap">
      <Button
        size="xs"
        variant="ghost"
        px="1"
        aria-pressed={shown.star}
        aria-label={star}
        title={star}
        onClick={() => put({ ...shown, star: !shown.star })}
      >
        <Star size={16} aria-hidden fill={shown.star ? "currentColor" : "none"} />
      </Button>
      {shown.labels.map((label) => (
        <Tag.Root key={label} size="sm" maxWidth="16rem">
          <Tag.Label>
            <bdi>{label}</bdi>
          </Tag.Label>
          <Tag.EndElement>
            <Tag.CloseTrigger
              aria-label={`Take the label ${label} away`}
              onClick={() =>
                put({ ...shown, labels: shown.labels.filter((other) => other !== label) })
              }
            />
          </Tag.EndElement>
        </Tag.Root>
      ))}
      {adding ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            const label = String(new FormData(event.currentTarget).get("label") ?? "").trim();
            if (label && !shown.labels.includes(label))
              put({ ...shown, labels: [...shown.labels, label] });
            setAdding(false);
          }}
        >
          <Input
            name="label"
            size="2xs"
            width="40"
            aria-label="New label, only for you"
            placeholder="label, Enter"
            maxLength={LONGEST_LABEL}
            autoComplete="off"
            ref={focusNew}
            onBlur={() => setAdding(false)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setAdding(false);
            }}
          />
        </form>
      ) : (
        <Button size="2xs" variant="ghost" onClick={() => setAdding(true)}>
          <Plus size={12} aria-hidden /> Label
        </Button>
      )}
    </HStack>
  );
}

const EVENTS = [
  ["end", "when it ends"],
  ["failure", "when it fails"],
  ["long_wait", "when it waits long"],
  ["long_run", "when it runs long"],
] as const;

/** Notify me: of what, of this one job. */
export function Watch({ id, admin }: { id: string; admin: boolean }) {
  const path = pathOfPart(id, "/notify", admin);
  const live = useLive<Answer<"Watched">>(path);
  const change = useChange<Answer<"Watched">>();
  const on = live.data?.on ?? [];
  const set = (event: string, wanted: boolean) => {
    const next = wanted ? [...on, event] : on.filter((one) => one !== event);
    change.mutate(
      next.length ? { path, method: "PUT", body: { on: next } } : { path, method: "DELETE" },
      {
        onError: (problem) =>
          say({ kind: "error", title: "This was not changed", description: problem.message }),
      },
    );
  };
  return (
    <Popover.Root positioning={{ placement: "bottom-end" }}>
      <Popover.Trigger asChild>
        <Button size="sm" variant={on.length ? "subtle" : "outline"}>
          {on.length ? <BellRing size={14} aria-hidden /> : <Bell size={14} aria-hidden />} Notify
          me
        </Button>
      </Popover.Trigger>
      <Portal>
        <Popover.Positioner>
          <Popover.Content width="xs">
            <Popover.Body>
              <Popover.Title fontWeight="medium" mb="2">
                Tell me of this job
              </Popover.Title>
              <Stack gap="2">
                {EVENTS.map(([event, words]) => (
                  <Checkbox.Root
                    key={event}
                    checked={on.includes(event)}
                    disabled={change.isPending || !live.data}
                    onCheckedChange={({ checked }) => set(event, checked === true)}
                  >
                    <Checkbox.HiddenInput />
                    <Checkbox.Control />
                    <Checkbox.Label>{words}</Checkbox.Label>
                  </Checkbox.Root>
                ))}
                {live.data && (
                  <Text fontSize="xs" color="fg.muted">
                    By:{" "}
                    {live.data.channels
                      .map((one) => (one === "page" ? "this page" : one))
                      .join(", ")}
                  </Text>
                )}
                {live.error && (
                  <Text fontSize="xs" color="fg.muted">
                    {live.error.message}
                  </Text>
                )}
              </Stack>
            </Popover.Body>
          </Popover.Content>
        </Popover.Positioner>
      </Portal>
    </Popover.Root>
  );
}
