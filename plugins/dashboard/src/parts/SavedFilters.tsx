/** Filters that the reader has saved for a page: to choose, save and delete. */

import { Button, chakra, Flex, Input, Menu, Portal } from "@chakra-ui/react";
import { Bookmark, Trash2 } from "lucide-react";
import { useState } from "react";

import { useChange, useLive } from "../app/live";
import type { PageWords } from "../app/pageWords";
import type { Answer } from "../app/types";
import { query } from "../lib/words";
import { say } from "./toasts";

/** A menu. page: the page's name, to which the filters belong. */
export function SavedFilters({ page, filter }: { page: string; filter: PageWords }) {
  const live = useLive<Answer<"Filters">>("/settings/filters");
  const change = useChange();
  const [naming, setNaming] = useState(false);
  const [name, setName] = useState("");
  const mine = (live.data?.filters ?? []).filter((saved) => saved.page === page);
  const failed = (error: Error) =>
    say({ kind: "error", title: "The filter was not changed", description: error.message });
  const save = () => {
    if (!name.trim()) return;
    change.mutate(
      {
        path: "/settings/filters",
        method: "PUT",
        body: { page, name: name.trim(), query: filter.search.toString() },
      },
      {
        onSuccess: () => {
          say({ kind: "success", title: `Saved “${name.trim()}”` });
          setNaming(false);
          setName("");
        },
        onError: failed,
      },
    );
  };
  if (naming)
    return (
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        <Flex gap="1">
          <Input
            size="sm"
            width="44"
            aria-label="Name of the filter"
            placeholder="Name of the filter"
            value={name}
            maxLength={60}
            onChange={(event) => setName(event.target.value)}
            ref={(field) => field?.focus()}
          />
          <Button type="submit" size="sm" loading={change.isPending} disabled={!name.trim()}>
            Save
          </Button>
          <Button size="sm" variant="ghost" onClick={() => setNaming(false)}>
            Leave
          </Button>
        </Flex>
      </form>
    );
  return (
    <Menu.Root>
      <Menu.Trigger asChild>
        <Button size="sm" variant="outline">
          <Bookmark size={14} aria-hidden /> Saved
        </Button>
      </Menu.Trigger>
      <Portal>
        <Menu.Positioner>
          <Menu.Content maxHeight="80">
            {mine.map((saved) => (
              <Menu.Item
                key={saved.name}
                value={`use ${saved.name}`}
                onClick={() => filter.put(saved.query)}
              >
                <chakra.span truncate maxWidth="60">
                  <bdi>{saved.name}</bdi>
                </chakra.span>
              </Menu.Item>
            ))}
            {mine.length > 0 && <Menu.Separator />}
            <Menu.Item value="save" onClick={() => setNaming(true)}>
              Save this filter
            </Menu.Item>
            {mine.map((saved) => (
              <Menu.Item
                key={`delete ${saved.name}`}
                value={`delete ${saved.name}`}
                color="fg.error"
                onClick={() =>
                  change.mutate(
                    {
                      path: `/settings/filters${query({ page, name: saved.name })}`,
                      method: "DELETE",
                    },
                    { onError: failed },
                  )
                }
              >
                <Trash2 size={14} aria-hidden />
                <chakra.span truncate maxWidth="60">
                  Delete <bdi>{saved.name}</bdi>
                </chakra.span>
              </Menu.Item>
            ))}
          </Menu.Content>
        </Menu.Positioner>
      </Portal>
    </Menu.Root>
  );
}
