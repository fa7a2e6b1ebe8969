/** The filter of a list: a search, the state, more words on demand, and what is set as chips. */

import { Box, Button, chakra, Field, Flex, Input, NativeSelect } from "@chakra-ui/react";
import { Search, SlidersHorizontal, Star, X } from "lucide-react";
import { useEffect, useRef, useState, type ReactNode } from "react";

import { useKeys } from "../app/keys";
import type { PageWords } from "../app/pageWords";
import { chips, FIELDS, type Choice, type FieldName, type FilterField } from "../lib/filters";

const TYPING_MS = 400;

/** states: what can be chosen as state, the first by default. fields: the words behind "More".
 * more: what else belongs in the row. */
export function FilterBar({
  filter,
  states,
  fields,
  children,
}: {
  filter: PageWords;
  states: readonly Choice[];
  fields: readonly FieldName[];
  children?: ReactNode;
}) {
  const { search, words, change } = filter;
  const [more, setMore] = useState(false);
  const given = words.status ?? states[0]?.value ?? "";
  const known = states.some(({ value }) => value === given);
  const set = chips(search, [...fields, "q"]);
  return (
    <Box mb="3">
      <Flex gap="2" wrap="wrap" align="center">
        <SearchField value={words.q ?? ""} set={(q) => change({ q })} />
        <NativeSelect.Root size="sm" width="44">
          <NativeSelect.Field
            aria-label="State"
            value={given}
            onChange={({ target }) =>
              change({ status: target.value === states[0]?.value ? null : target.value })
            }
          >
            {states.map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
            {!known && <option value={given}>{given}</option>}
          </NativeSelect.Field>
          <NativeSelect.Indicator />
        </NativeSelect.Root>
        <Button size="sm" variant="outline" aria-expanded={more} onClick={() => setMore(!more)}>
          <SlidersHorizontal size={14} aria-hidden /> Filters
        </Button>
        <Button
          size="sm"
          variant="outline"
          aria-pressed={words.star === "true"}
          aria-label="Only with a star"
          title="Only with a star"
          bg={words.star === "true" ? "bg.emphasized" : undefined}
          onClick={() => change({ star: words.star === "true" ? null : "true" })}
        >
          <Star size={14} aria-hidden />
        </Button>
        {children}
      </Flex>
      {more && <MoreFields filter={filter} fields={fields} />}
      {set.length > 0 && (
        <Flex gap="2" wrap="wrap" mt="2" aria-label="Filters that are set" role="group">
          {set.map(({ word, text }) => (
            <Button
              key={word}
              size="2xs"
              variant="subtle"
              maxWidth="full"
              onClick={() => change({ [word]: null })}
              aria-label={`Without ${text}`}
            >
              <chakra.span truncate>
                <bdi>{text}</bdi>
              </chakra.span>
              <X size={12} aria-hidden />
            </Button>
          ))}
          <Button
            size="2xs"
            variant="ghost"
            onClick={() => change(Object.fromEntries(set.map(({ word }) => [word, null])))}
          >
            Clear filters
          </Button>
        </Flex>
      )}
    </Box>
  );
}

function SearchField({ value, set }: { value: string; set: (q: string | null) => void }) {
  const field = useRef<HTMLInputElement>(null);
  const [text, setText] = useState(value);
  // What the address says, if it was not this field that said so.
  const [told, setTold] = useState(value);
  if (value !== told) {
    setTold(value);
    setText(value);
  }
  const typed = text.trim();
  const current = useRef(set);
  useEffect(() => {
    current.current = set;
  });
  useEffect(() => {
    if (typed === told) return undefined;
    const timer = setTimeout(() => {
      setTold(typed);
      current.current(typed || null);
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed, told]);
  useKeys([{ key: "/", does: "filter the list", run: () => field.current?.focus() }]);
  return (
    <Box position="relative" flex="1 1 14rem" maxWidth="sm">
      <Box position="absolute" insetStart="2.5" top="2.5" color="fg.muted" pointerEvents="none">
        <Search size={14} aria-hidden />
      </Box>
      <Input
        ref={field}
        type="search"
        size="sm"
        ps="8"
        aria-label="Search by id, app or narrative"
        placeholder="Search by id, app or narrative"
        value={text}
        maxLength={200}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") event.currentTarget.blur();
        }}
      />
    </Box>
  );
}

function MoreFields({ filter, fields }: { filter: PageWords; fields: readonly FieldName[] }) {
  const { search, change } = filter;
  return (
    <form
      key={search.toString()}
      onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget);
        change(
          Object.fromEntries(
            fields.map((name) => {
              const value = given.get(name);
              return [name, typeof value === "string" ? value.trim() || null : null];
            }),
          ),
        );
      }}
    >
      <Flex gap="3" wrap="wrap" align="end" borderWidth="1px" borderRadius="md" p="3" mt="2">
        {fields.map((name) => {
          const { label, hint, choices }: FilterField = FIELDS[name];
          return (
            <Field.Root key={name} width="40">
              <Field.Label fontSize="xs">{label}</Field.Label>
              {choices ? (
                <NativeSelect.Root size="sm">
                  <NativeSelect.Field name={name} defaultValue={search.get(name) ?? ""}>
                    <option value="">any</option>
                    {choices.map(({ value, label: text }) => (
                      <option key={value} value={value}>
                        {text}
                      </option>
                    ))}
                  </NativeSelect.Field>
                  <NativeSelect.Indicator />
                </NativeSelect.Root>
              ) : (
                <Input
                  name={name}
                  size="sm"
                  placeholder={hint}
                  defaultValue={search.get(name) ?? ""}
                  maxLength={200}
                  autoComplete="off"
                />
              )}
            </Field.Root>
          );
        })}
        <Button type="submit" size="sm" colorPalette="brand">
          Apply
        </Button>
      </Flex>
    </form>
  );
}
