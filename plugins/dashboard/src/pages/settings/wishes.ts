/** What a reader wants to be told, as the form has it and as the server has it. */

import type { Answer } from "../../app/types";
import { decimal } from "../../lib/fields";

export type Wishes = Answer<"NoticeSettings">["settings"];

export const EVENTS = [
  { key: "end", name: "A job ends, however it ends" },
  { key: "failure", name: "A job fails" },
  { key: "batch_done", name: "A batch has ended" },
  { key: "long_wait", name: "A job waits long" },
  { key: "long_run", name: "A job runs long" },
] as const;

const CHANNELS: Record<string, string> = {
  page: "In the page",
  email: "E-mail",
  slack: "Slack",
  webhook: "Webhook",
};

/** A channel's name for people. */
export function channelName(channel: string): string {
  return Object.hasOwn(CHANNELS, channel) ? (CHANNELS[channel] ?? channel) : channel;
}

export interface Draft {
  events: Record<string, string[]>;
  email: string;
  slack: string;
  webhook: string;
  shared: boolean;
  /** Minutes, hours, hours; as typed. */
  quiet: string;
  longWait: string;
  longRun: string;
}

const said = (value: number) => String(Math.round(value * 1e4) / 1e4);

/** The form's fields for what the server has. */
export function draftOf(wishes: Wishes): Draft {
  return {
    events: { ...wishes.events },
    email: wishes.email ?? "",
    slack: wishes.slack ?? "",
    webhook: wishes.webhook ?? "",
    shared: wishes.shared,
    quiet: said(wishes.quiet_s / 60),
    longWait: said(wishes.long_wait_s / 3600),
    longRun: said(wishes.long_run_s / 3600),
  };
}

/** The server's words for the form; null while a number is none. */
export function wishesOf(draft: Draft): Wishes | null {
  const [quiet, wait, run] = [draft.quiet, draft.longWait, draft.longRun].map(decimal);
  const numbers = [quiet, wait, run];
  if (numbers.some((n) => n === null || n === undefined || Number.isNaN(n))) return null;
  return {
    events: Object.fromEntries(
      Object.entries(draft.events).filter(([, channels]) => channels.length > 0),
    ),
    email: draft.email.trim() || null,
    slack: draft.slack.trim() || null,
    webhook: draft.webhook.trim() || null,
    shared: draft.shared,
    quiet_s: (quiet ?? 0) * 60,
    long_wait_s: (wait ?? 0) * 3600,
    long_run_s: (run ?? 0) * 3600,
  };
}

/** The draft with a channel of an event switched. */
export function switched(draft: Draft, event: string, channel: string, on: boolean): Draft {
  const before = draft.events[event] ?? [];
  const after = on
    ? [...before.filter((one) => one !== channel), channel]
    : before.filter((one) => one !== channel);
  return { ...draft, events: { ...draft.events, [event]: after } };
}

/** The form's field that a message of the server is about; the matrix of events has "events". */
export function wrongField(message: string): string | null {
  // "events.failure names the channel slack, and slack is not set": the address is missing.
  const missing = /, and (\w+) is not set$/.exec(message);
  if (missing?.[1]) return missing[1];
  if (/another (\w+) address a moment ago/.test(message))
    return /another (\w+) address/.exec(message)?.[1] ?? null;
  const first = /^[a-z_]+/.exec(message)?.[0] ?? "";
  return ["email", "slack", "webhook", "events", "quiet_s", "long_wait_s", "long_run_s"].includes(
    first,
  )
    ? first
    : null;
}

const STATES: Record<string, { word: string; colour: string }> = {
  due: { word: "To be sent", colour: "none" },
  sending: { word: "Being sent", colour: "none" },
  sent: { word: "Sent", colour: "success" },
  given_up: { word: "Not taken", colour: "failed" },
  unclear: { word: "Perhaps taken", colour: "warning" },
};

/** What became of a message, as a badge shows it. */
export function toldState(state: string): { word: string; colour: string } {
  const known = Object.hasOwn(STATES, state) ? STATES[state] : undefined;
  return known ?? { word: state, colour: "none" };
}

const OTHERS: Record<string, string> = {
  test: "A test",
  code: "A code",
  watched: "A job that you watch",
  watched_long: "A job that you watch",
};

/** An event's name in the list of what was told. */
export function eventName(event: string): string {
  const known = EVENTS.find(({ key }) => key === event);
  return known?.name ?? (Object.hasOwn(OTHERS, event) ? (OTHERS[event] ?? event) : event);
}
