/** The reader's saved filters, of all pages: to open, rename and delete. */

import { Button, HStack, Input, Skeleton, Text } from "@chakra-ui/react";
import { useState } from "react";

import { PageLink } from "../../app/links";
import { useChange, useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { query } from "../../lib/words";
import { Confirm } from "../../parts/Confirm";
import { Empty } from "../../parts/Empty";
import { Trouble } from "../../parts/Freshness";
import { Rows, type Column } from "../../parts/Rows";
import { Ago } from "../../parts/times";
import { say } from "../../parts/toasts";
import { addressOf, pageName } from "./pages";

type Saved = Answer<"SavedFilter">;

const keyOf = (one: Saved) => `${one.page} ${one.name}`;

export function Filters() {
  const live = useLive<Answer<"Filters">>("/settings/filters");
  const change = useChange();
  const [naming, setNaming] = useState<Saved | null>(null);
  const [name, setName] = useState("");
  const [dropping, setDropping] = useState<Saved | null>(null);
  const all = live.data?.filters ?? [];
  const drop = (one: Saved) =>
    change.mutateAsync({
      path: `/settings/filters${query({ page: one.page, name: one.name })}`,
      method: "DELETE",
    });
  const rename = async (one: Saved) => {
    const to = name.trim();
    if (to && to !== one.name) {
      if (all.some((other) => other.page === one.page && other.name === to)) {
        say({ kind: "error", title: `There is a filter “${to}” already` });
        return;
      }
      try {
        await change.mutateAsync({
          path: "/settings/filters",
          method: "PUT",
          body: { page: one.page, name: to, query: one.query },
        });
        await drop(one);
      } catch (problem) {
        say({
          kind: "error",
          title: "The filter was not renamed",
          description: problem instanceof Error ? problem.message : undefined,
        });
        return;
      }
    }
    setNaming(null);
  };
  const columns: Column<Saved>[] = [
    {
      name: "Filter",
      cell: (one) =>
        naming && keyOf(naming) === keyOf(one) ? (
          <form
            onSubmit={(event) => {
              event.preventDefault();
              void rename(one);
            }}
          >
            <HStack gap="1">
              <Input
                size="sm"
                width="56"
                aria-label="New name"
                maxLength={60}
                value={name}
                onChange={(event) => setName(event.target.value)}
                ref={(field) => field?.focus()}
              />
              <Button type="submit" size="sm" variant="outline" disabled={!name.trim()}>
                Rename
              </Button>
              <Button size="sm" variant="ghost" onClick={() => setNaming(null)}>
                Leave
              </Button>
            </HStack>
          </form>
        ) : (
          <PageLink to={addressOf(one)}>
            <bdi>{one.name}</bdi>
          </PageLink>
        ),
    },
    { name: "Page", cell: (one) => pageName(one.page) },
    {
      name: "What it says",
      cell: (one) => (
        <Text as="span" fontFamily="mono" fontSize="sm" overflowWrap="anywhere">
          {one.query || "all"}
        </Text>
      ),
    },
    { name: "Saved", cell: (one) => <Ago at={one.changed} /> },
    {
      name: "Change",
      quiet: true,
      width: "1%",
      cell: (one) => (
        <HStack gap="1" justify="end">
          <Button
            size="xs"
            variant="outline"
            aria-label={`Rename ${one.name}`}
            onClick={() => {
              setName(one.name);
              setNaming(one);
            }}
          >
            Rename
          </Button>
          <Button
            size="xs"
            variant="outline"
            aria-label={`Delete ${one.name}`}
            onClick={() => setDropping(one)}
          >
            Delete
          </Button>
        </HStack>
      ),
    },
  ];
  return (
    <>
      <Trouble live={live} />
      {!live.data && !live.error && <Skeleton height="20" />}
      {live.data &&
        (all.length ? (
          <Rows label="Saved filters" columns={columns} rows={all} keyOf={keyOf} />
        ) : (
          <Empty title="No saved filters.">
            Lists of jobs have “Save this filter” beside their filter fields.
          </Empty>
        ))}
      {dropping && (
        <Confirm
          open
          onClose={() => setDropping(null)}
          title="Delete this filter?"
          verb="Delete filter"
          keep="Keep it"
          act={() => drop(dropping)}
        >
          “<bdi>{dropping.name}</bdi>” of {pageName(dropping.page)}. Jobs are not concerned.
        </Confirm>
      )}
    </>
  );
}
