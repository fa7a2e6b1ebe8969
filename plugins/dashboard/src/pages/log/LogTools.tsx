/** What stands above the lines: search, filter, follow, times, wrap, downloads. */

import {
  Button,
  Flex,
  HStack,
  IconButton,
  Input,
  InputGroup,
  NativeSelect,
  Text,
} from "@chakra-ui/react";
import {
  ArrowDownToLine,
  CaseSensitive,
  ChevronDown,
  ChevronUp,
  CircleX,
  Download,
  Regex,
  Search,
  WrapText,
} from "lucide-react";
import { useEffect, useState, type ReactNode, type Ref } from "react";

import { bounded, number } from "../../lib/format";
import type { Times } from "./LogLines";
import type { Found, Wanted } from "./useFound";

const TYPING_MS = 400;

/** A button that is on or off. */
function Toggle({
  on,
  onChange,
  label,
  children,
  word = false,
}: {
  on: boolean;
  onChange: (on: boolean) => void;
  label: string;
  children: ReactNode;
  /** Show the label beside the sign. */
  word?: boolean;
}) {
  return (
    <Button
      size="sm"
      px="2"
      variant={on ? "subtle" : "outline"}
      colorPalette={on ? "brand" : undefined}
      aria-pressed={on}
      aria-label={label}
      title={label}
      onClick={() => onChange(!on)}
    >
      {children}
      {word && label}
    </Button>
  );
}

export interface ToolsProps {
  wanted: Wanted;
  found: Found;
  /** The place of the current match among those found; -1: on none. */
  at: number;
  times: Times;
  wrap: boolean;
  live: boolean;
  follow: boolean;
  download: { text: string; json: string };
  field: Ref<HTMLInputElement>;
  set: (changes: Partial<Record<string, string | null>>) => void;
  onFollow: (follow: boolean) => void;
  onStep: (forward: boolean) => void;
}

export function LogTools({ wanted, found, times, wrap, live, follow, ...rest }: ToolsProps) {
  const { download, set, onFollow } = rest;
  return (
    <Flex gap="2" wrap="wrap" mb="2" align="center">
      <SearchField wanted={wanted} found={found} {...rest} />
      <Toggle
        label="Errors only"
        word
        on={wanted.errors}
        onChange={(on) => set({ level: on ? "error" : null })}
      >
        <CircleX size={16} aria-hidden />
      </Toggle>
      {live && (
        <Toggle label="Follow" word on={follow} onChange={onFollow}>
          <ArrowDownToLine size={16} aria-hidden />
        </Toggle>
      )}
      <HStack gap="2" ms="auto" hideBelow="sm">
        <NativeSelect.Root size="sm" width="36">
          <NativeSelect.Field
            aria-label="Times of lines"
            value={times}
            onChange={(event) =>
              set({ time: event.target.value === "off" ? null : event.target.value })
            }
          >
            <option value="off">No times</option>
            <option value="relative">Since start</option>
            <option value="clock">Clock</option>
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
        <Toggle label="Wrap" word on={wrap} onChange={(on) => set({ wrap: on ? "1" : null })}>
          <WrapText size={16} aria-hidden />
        </Toggle>
        <Button asChild size="sm" variant="outline" px="2">
          <a href={download.text} download>
            <Download size={16} aria-hidden />
            Text
          </a>
        </Button>
        <Button asChild size="sm" variant="outline" px="2">
          <a href={download.json} download aria-label="Download as JSON lines">
            <Download size={16} aria-hidden />
            JSON lines
          </a>
        </Button>
      </HStack>
    </Flex>
  );
}

function SearchField({
  wanted,
  found,
  at,
  field,
  set,
  onStep,
}: Pick<ToolsProps, "wanted" | "found" | "at" | "field" | "set" | "onStep">) {
  const [text, setText] = useState(wanted.q);
  const [told, setTold] = useState(wanted.q);
  // The address has changed under it (a link, the way back).
  if (told !== wanted.q) {
    setTold(wanted.q);
    setText(wanted.q);
  }
  useEffect(() => {
    if (text === wanted.q) return;
    const timer = setTimeout(() => set({ q: text }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, wanted.q, set]);
  return (
    <HStack gap="1" flex="1 1 320px" maxWidth={{ md: "640px" }}>
      <InputGroup
        startElement={<Search size={16} aria-hidden />}
        endElement={<Count {...{ found, at, wanted }} />}
      >
        <Input
          ref={field}
          size="sm"
          type="text"
          aria-label="Search the log"
          placeholder="Search the log"
          maxLength={1000}
          autoComplete="off"
          spellCheck={false}
          pe={text ? "28" : "2"}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter") {
              event.preventDefault();
              if (text !== wanted.q) set({ q: text });
              else onStep(!event.shiftKey);
            } else if (event.key === "Escape") {
              event.currentTarget.blur();
            }
          }}
        />
      </InputGroup>
      <Toggle
        label="Capital and small letters differ"
        on={wanted.case}
        onChange={(on) => set({ case: on ? "1" : null })}
      >
        <CaseSensitive size={16} aria-hidden />
      </Toggle>
      <Toggle
        label="Regular expression"
        on={wanted.regex}
        onChange={(on) => set({ regex: on ? "1" : null })}
      >
        <Regex size={16} aria-hidden />
      </Toggle>
      <Step label="Previous match" disabled={!found.matches.length} onClick={() => onStep(false)}>
        <ChevronUp size={16} aria-hidden />
      </Step>
      <Step label="Next match" disabled={!found.matches.length} onClick={() => onStep(true)}>
        <ChevronDown size={16} aria-hidden />
      </Step>
    </HStack>
  );
}

function Step({
  label,
  disabled,
  onClick,
  children,
}: {
  label: string;
  disabled: boolean;
  onClick: () => void;
  children: ReactNode;
}) {
  return (
    <IconButton
      size="sm"
      variant="ghost"
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onClick}
    >
      {children}
    </IconButton>
  );
}

function Count({ found, at, wanted }: Pick<ToolsProps, "found" | "at" | "wanted">) {
  if (!wanted.q) return null;
  const text =
    found.error !== null
      ? "not searched"
      : found.busy && !found.matches.length
        ? "searching"
        : found.total.value === 0
          ? "no match"
          : at >= 0
            ? `${number(at + 1)} of ${bounded(found.total)}`
            : bounded(found.total);
  return (
    <Text fontSize="xs" color="fg.muted" role="status" data-testid="matches">
      {text}
    </Text>
  );
}
