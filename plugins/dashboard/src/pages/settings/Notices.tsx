/** Which events are told, on which channels, and where these lead. */

import { Badge, Button, Checkbox, HStack, Skeleton, Stack, Table, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useChange, useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { FormField } from "../../parts/FormField";
import { Trouble } from "../../parts/Freshness";
import { Notice } from "../../parts/Notice";
import { Ago } from "../../parts/times";
import { say } from "../../parts/toasts";
import { Address } from "./Address";
import {
  channelName,
  draftOf,
  EVENTS,
  eventName,
  switched,
  toldState,
  wishesOf,
  wrongField,
  type Draft,
} from "./wishes";

type Settings = Answer<"NoticeSettings">;

export function Notices() {
  const live = useLive<Settings>("/settings/notices");
  return (
    <>
      <Trouble live={live} />
      {!live.data && !live.error && <Skeleton height="64" />}
      {live.data && <Form key={JSON.stringify(live.data.settings)} now={live.data} />}
      {live.data && <Told told={live.data.newest} />}
    </>
  );
}

function Form({ now }: { now: Settings }) {
  const me = useMe();
  const change = useChange<Settings>();
  const [draft, setDraft] = useState<Draft>(() => draftOf(now.settings));
  const edit = (to: Partial<Draft>) => setDraft((before) => ({ ...before, ...to }));
  const wishes = wishesOf(draft);
  const wrong = change.error?.message ?? null;
  const place = wrong === null ? null : wrongField(wrong);
  const at = (field: string) => (place === field ? wrong : null);
  const changed = JSON.stringify(draft) !== JSON.stringify(draftOf(now.settings));
  // Not by onSuccess: the form is made anew from what was saved, and is told nothing any more then.
  const save = () =>
    void change.mutateAsync({ path: "/settings/notices", method: "PUT", body: wishes }).then(
      () => say({ kind: "success", title: "Notifications saved" }),
      () => undefined, // stands at its field
    );
  const address = (channel: "email" | "slack" | "webhook", help: string) =>
    now.channels.includes(channel) && (
      <Address
        key={channel}
        channel={channel}
        value={draft[channel]}
        onValue={(value) => edit({ [channel]: value })}
        error={at(channel)}
        help={help}
        saved={now.settings[channel] ?? ""}
        confirmed={now.confirmed.includes(channel)}
      />
    );
  const numberHelp = "Give a number, such as 1.5";
  return (
    <form
      noValidate
      aria-label="Notifications"
      onSubmit={(event) => {
        event.preventDefault();
        if (wishes) save();
      }}
    >
      <Stack gap="4">
        <Table.Root size="sm" width="auto" bg="transparent">
          <Table.Header>
            <Table.Row bg="transparent">
              <Table.ColumnHeader color="fg.muted">Tell me when</Table.ColumnHeader>
              {now.channels.map((channel) => (
                <Table.ColumnHeader key={channel} textAlign="center" color="fg.muted">
                  {channelName(channel)}
                </Table.ColumnHeader>
              ))}
            </Table.Row>
          </Table.Header>
          <Table.Body>
            {EVENTS.map(({ key, name }) => (
              <Table.Row key={key} bg="transparent">
                <Table.Cell>{name}</Table.Cell>
                {now.channels.map((channel) => (
                  <Table.Cell key={channel} textAlign="center">
                    <Checkbox.Root
                      checked={(draft.events[key] ?? []).includes(channel)}
                      onCheckedChange={({ checked }) =>
                        setDraft((before) => switched(before, key, channel, checked === true))
                      }
                    >
                      <Checkbox.HiddenInput aria-label={`${name}: ${channelName(channel)}`} />
                      <Checkbox.Control />
                    </Checkbox.Root>
                  </Table.Cell>
                ))}
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
        <HStack gap="4" align="start" wrap="wrap">
          <FormField
            label="A wait is long after, hours"
            width="52"
            inputMode="decimal"
            value={draft.longWait}
            onValue={(longWait) => edit({ longWait })}
            error={at("long_wait_s")}
          />
          <FormField
            label="A run is long after, hours"
            width="52"
            inputMode="decimal"
            value={draft.longRun}
            onValue={(longRun) => edit({ longRun })}
            error={at("long_run_s")}
          />
          <FormField
            label="Not of jobs shorter than, minutes"
            width="60"
            inputMode="decimal"
            value={draft.quiet}
            onValue={(quiet) => edit({ quiet })}
            error={at("quiet_s")}
            help="You are still looking at them then"
          />
        </HStack>
        {wishes === null && (
          <Text color="fg.error" fontSize="sm" role="alert">
            {numberHelp}
          </Text>
        )}
        <Checkbox.Root
          checked={draft.shared}
          onCheckedChange={({ checked }) => edit({ shared: checked === true })}
          alignSelf="start"
        >
          <Checkbox.HiddenInput />
          <Checkbox.Control />
          <Checkbox.Label>Also of jobs that others share with me by name</Checkbox.Label>
        </Checkbox.Root>
        <Stack gap="3">
          {address("email", "One address")}
          {address("slack", "The id of a member, such as U024BE7LH")}
          {address(
            "webhook",
            "A path below this institute’s address of hooks, such as /hooks/7f3a",
          )}
        </Stack>
        {wrong !== null && (place === null || place === "events") && (
          <Notice kind="error" title="This was not saved">
            {wrong}
          </Notice>
        )}
        {me.may_write && (
          <HStack gap="2">
            <Button
              type="submit"
              size="sm"
              colorPalette="brand"
              disabled={!changed || wishes === null}
              loading={change.isPending}
            >
              Save notifications
            </Button>
            {changed && (
              <Button
                size="sm"
                variant="ghost"
                onClick={() => {
                  setDraft(draftOf(now.settings));
                  change.reset();
                }}
              >
                Leave as they are
              </Button>
            )}
          </HStack>
        )}
      </Stack>
    </form>
  );
}

function Told({ told }: { told: Settings["newest"] }) {
  if (!told.length) return null;
  return (
    <Stack gap="1" mt="5">
      <Text fontWeight="medium">Newest messages</Text>
      <Stack as="ul" gap="1" listStyleType="none" fontSize="sm">
        {told.map((one, at) => {
          const { word, colour } = toldState(one.state);
          return (
            <HStack as="li" key={`${at} ${one.at}`} gap="2" wrap="wrap">
              <Badge bg={`${colour}.subtle`} color={`${colour}.fg`} size="sm">
                {word}
              </Badge>
              {eventName(one.event)}, {channelName(one.channel)},
              <Ago at={one.at} />
              {one.error && (
                <Text as="span" color="fg.muted" overflowWrap="anywhere">
                  {one.error}
                </Text>
              )}
            </HStack>
          );
        })}
      </Stack>
    </Stack>
  );
}
