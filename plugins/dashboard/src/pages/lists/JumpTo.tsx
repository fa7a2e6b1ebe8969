import { Button, Flex, Input } from "@chakra-ui/react";
import { useState } from "react";

import { call, said } from "../../app/api";
import { useHome } from "../../app/home";
import { pathOf, useGo } from "../../app/links";
import type { JobList } from "../../app/types";
import { query } from "../../lib/words";
import { say } from "../../parts/toasts";

/** What a text names: the start of a job's id, or an id of the batch system ("4711", "4711.0"). */
export function named(text: string): { q: string } | { scheduler: string } | null {
  const id = text.trim().toLowerCase();
  if (/^\d{1,12}(\.\d{1,6})?$/.test(id) && id.length < 20)
    return id.includes(".") || id.length < 8 ? { scheduler: id } : { q: id };
  return /^[0-9a-f]{4,24}$/.test(id) ? { q: id } : null;
}

/** To a job by the start of its id or by its id at the batch system. find: shows all that fit. */
export function JumpTo({ find }: { find: (q: string) => void }) {
  const { api } = useHome();
  const go = useGo();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const jump = async () => {
    const asked = named(text);
    if (!asked) {
      say({
        kind: "warning",
        title: "This is no id",
        description: "Give the first 4 digits of a job's id or more, or an id such as 4711.0.",
      });
      return;
    }
    setBusy(true);
    try {
      // A number of digits may be either.
      let { items } = await call<JobList>(
        `${api}/jobs${query({ scope: "all", limit: 2, attempts: true, ...asked })}`,
      );
      if (!items.length && "scheduler" in asked && asked.scheduler.length >= 4) {
        const again = query({ scope: "all", limit: 2, attempts: true, q: asked.scheduler });
        if (!asked.scheduler.includes("."))
          ({ items } = await call<JobList>(`${api}/jobs${again}`));
      }
      const [only, second] = items;
      if (only && !second) go(pathOf(only));
      else if (only) find(text.trim());
      else say({ kind: "info", title: `No job has an id that begins with ${text.trim()}` });
    } catch (problem) {
      say({ kind: "error", title: "The id was not looked up", description: said(problem) });
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void jump();
      }}
    >
      <Flex gap="1">
        <Input
          size="xs"
          width="44"
          fontFamily="mono"
          aria-label="Go to an id"
          placeholder="Go to id or 4711.0"
          value={text}
          maxLength={40}
          onChange={(event) => setText(event.target.value)}
        />
        <Button type="submit" size="xs" variant="outline" loading={busy} disabled={!text.trim()}>
          Go
        </Button>
      </Flex>
    </form>
  );
}
