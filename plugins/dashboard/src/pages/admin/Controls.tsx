/** Pausing the engine and draining client groups, each asked and with a reason for the audit. */

import { Button, HStack, Stack, Text } from "@chakra-ui/react";
import { Pause, Play } from "lucide-react";
import { useState } from "react";

import { useChange } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { Confirm } from "../../parts/Confirm";
import { Notice } from "../../parts/Notice";
import { Ago } from "../../parts/times";
import { say } from "../../parts/toasts";
import type { Controls as State } from "./overview";

type Act = { act: "pause" | "resume" } | { act: "drain" | "undrain"; group: string };

const WORDS = {
  pause: {
    title: "Pause the engine?",
    what: "Jobs are accepted and kept, and none is started until somebody goes on. What runs goes on running.",
    verb: "Pause the engine",
    keep: "Keep it going",
    done: "The engine is paused",
  },
  resume: {
    title: "Go on starting jobs?",
    what: "What waits only for the pause starts as soon as there is room.",
    verb: "Go on",
    keep: "Stay paused",
    done: "The engine starts jobs again",
  },
  drain: {
    title: "Drain this client group?",
    what: "Its jobs are accepted and kept, and none is started until somebody goes on. What runs goes on running.",
    verb: "Drain the group",
    keep: "Keep it going",
    done: "The client group is drained",
  },
  undrain: {
    title: "Start this client group’s jobs again?",
    what: "What waits only for this starts as soon as there is room.",
    verb: "Start its jobs again",
    keep: "Stay drained",
    done: "The client group starts jobs again",
  },
} as const;

/** What is paused and drained, by whom and why, and the buttons that change it. */
export function Controls({ state, groups }: { state: State; groups: readonly string[] }) {
  const me = useMe();
  const change = useChange<Answer<"State">>();
  const [asked, setAsked] = useState<Act | null>(null);
  const may = me.is_admin && me.may_write;
  const run = async (reason: string) => {
    if (!asked) return;
    const group = "group" in asked ? { group: asked.group } : {};
    await change.mutateAsync({
      path: `/controls/${asked.act}`,
      body: { ...group, reason: reason || null },
    });
    say({ kind: "success", title: WORDS[asked.act].done });
  };
  const button = (act: Act, label: string, on: boolean) =>
    may && (
      <Button size="xs" variant="outline" onClick={() => setAsked(act)}>
        {on ? <Play size={14} aria-hidden /> : <Pause size={14} aria-hidden />}
        {label}
      </Button>
    );
  const drained = Object.entries(state.drained);
  const undrained = groups.filter((group) => !Object.hasOwn(state.drained, group));
  const words = asked && WORDS[asked.act];
  return (
    <Stack gap="2">
      {state.paused && (
        <Notice
          kind="error"
          title="The engine is paused: no job is started"
          action={button({ act: "resume" }, "Go on", true)}
        >
          <Because one={state.paused} />
        </Notice>
      )}
      {drained.map(([group, one]) => (
        <Notice
          key={group}
          kind="warning"
          title={
            <>
              <bdi>{group}</bdi> is drained: none of its jobs is started
            </>
          }
          action={button({ act: "undrain", group }, "Start its jobs again", true)}
        >
          <Because one={one} />
        </Notice>
      ))}
      {may && (
        <HStack gap="2" wrap="wrap">
          {!state.paused && button({ act: "pause" }, "Pause the engine", false)}
          {undrained.map((group) => (
            <span key={group}>{button({ act: "drain", group }, `Drain ${group}`, false)}</span>
          ))}
        </HStack>
      )}
      {words && asked && (
        <Confirm
          open
          onClose={() => setAsked(null)}
          title={words.title}
          verb={words.verb}
          keep={words.keep}
          danger={asked.act === "pause" || asked.act === "drain"}
          reason="required"
          reasonHelp={
            asked.act === "pause" || asked.act === "drain"
              ? "Everybody reads it as the reason why jobs wait; it stands in the audit."
              : "It stands in the audit."
          }
          act={run}
        >
          {"group" in asked && (
            <Text fontWeight="medium" mb="1">
              Client group <bdi>{asked.group}</bdi>
            </Text>
          )}
          {words.what}
        </Confirm>
      )}
    </Stack>
  );
}

function Because({ one }: { one: Answer<"Switched"> }) {
  return (
    <>
      <bdi>{one.by}</bdi>, <Ago at={one.at} />
      {one.reason ? <>: {one.reason}</> : ", no reason given"}
    </>
  );
}
