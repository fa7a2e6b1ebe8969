/** "/jobs/narratives": what runs in narratives that the reader can read, whoever started it. */

import { Box, Button, chakra, Flex, Skeleton, Text } from "@chakra-ui/react";
import { ChevronDown, ChevronRight } from "lucide-react";
import { useMemo, useState } from "react";
import { useSearchParams } from "react-router-dom";

import { useJobList } from "../../app/jobList";
import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { stale } from "../../lib/stale";
import { BAR_ORDER, look } from "../../lib/states";
import { query, withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { useJobActions, type JobActions } from "../../parts/JobActions";
import { JobTable, RowsSkeleton } from "../../parts/JobTable";
import { PageHead } from "../../parts/Section";
import { StateIcon } from "../../parts/StateBadge";
import { useStands } from "../../parts/useStands";
import { standing } from "./order";

type Group = Answer<"api_bridge__rest__lists__Group">;
type Groups = Answer<"api_bridge__rest__lists__Groups">;

export default function Narratives() {
  const [search, setSearch] = useSearchParams();
  const [paused, setPaused] = useState(false);
  const groups = useLive<Groups>("/jobs/groups?by=ws&scope=readable&status=live", {
    every: paused ? null : 15_000,
  });
  const actions = useJobActions();
  const open = useMemo(
    () => new Set((search.get("ws") ?? "").split(",").filter((ws) => /^\d{1,12}$/.test(ws))),
    [search],
  );
  const toggle = (ws: string) => {
    const next = new Set(open);
    if (!next.delete(ws)) next.add(ws);
    setSearch(withWords(search, { ws: [...next].join(",") }), { replace: true });
  };
  const items = groups.data?.items ?? [];
  // An address may name a narrative in which nothing runs (any more).
  const quiet = [...open].filter((ws) => !items.some((group) => String(group.ws_id) === ws));
  return (
    <Box>
      <PageHead title="By narrative">
        <Freshness live={groups} paused={paused} onPause={setPaused} />
      </PageHead>
      <Trouble live={groups} />
      {groups.loading && <RowsSkeleton height={56} />}
      <Box {...stale(groups.failedAt)}>
        {items.map((group) => (
          <NarrativeGroup
            key={group.ws_id ?? "none"}
            group={group}
            open={open.has(String(group.ws_id))}
            toggle={() => toggle(String(group.ws_id))}
            actions={actions}
            paused={paused}
          />
        ))}
      </Box>
      {groups.data &&
        quiet.map((ws) => (
          <Box key={ws} borderWidth="1px" borderRadius="md" px="4" py="3" mb="2">
            <Text>Nothing runs in narrative {ws}, or you may not read it.</Text>
            <Flex gap="4" fontSize="sm" mt="1">
              <PageLink to={`/jobs/history${query({ ws, span: "all" })}`}>
                What has ended there
              </PageLink>
              <Button size="xs" variant="ghost" onClick={() => toggle(ws)}>
                Close
              </Button>
            </Flex>
          </Box>
        ))}
      {groups.data?.more && (
        <Text color="fg.muted" mt="2">
          There are more narratives; these are the ones with the newest jobs.
        </Text>
      )}
      {groups.data && !items.length && !quiet.length && (
        <Empty title="No one is running anything in narratives you can read." />
      )}
      {actions.dialog}
    </Box>
  );
}

function nameOf(group: Group): string {
  if (group.ws_id === null) return "In no narrative";
  return group.title ?? `narrative ${group.ws_id}${group.deleted ? " (deleted)" : ""}`;
}

function NarrativeGroup({
  group,
  open,
  toggle,
  actions,
  paused,
}: {
  group: Group;
  open: boolean;
  toggle: () => void;
  actions: JobActions;
  paused: boolean;
}) {
  const name = nameOf(group);
  const counts = BAR_ORDER.filter((state) => group.counts[state]);
  const head = (
    <>
      <Box minWidth="0" flex="1">
        <Text fontWeight="medium" truncate title={name}>
          <bdi>{name}</bdi>
        </Text>
        {group.owner && (
          <Text fontSize="xs" color="fg.muted" truncate>
            owned by <bdi>{group.owner}</bdi>
          </Text>
        )}
      </Box>
      <Flex gap="3" fontSize="sm" flexShrink="0">
        {counts.map((state) => (
          <Flex
            key={state}
            as="span"
            align="center"
            gap="1"
            color={`${look(state).colour}.fg`}
            title={look(state).word}
          >
            <StateIcon state={state} />
            {number(group.counts[state] ?? 0)}
            <chakra.span hideBelow="md">{look(state).word.toLowerCase()}</chakra.span>
          </Flex>
        ))}
      </Flex>
    </>
  );
  const frame = { borderWidth: "1px", borderRadius: "md", mb: "2" };
  const row = {
    px: "4",
    py: "2.5",
    gap: "3",
    alignItems: "center",
    display: "flex",
    width: "full",
  };
  if (group.ws_id === null)
    return (
      <Box {...frame}>
        <Box {...row}>
          {head}
          <PageLink to="/jobs" fontSize="sm">
            My jobs
          </PageLink>
        </Box>
      </Box>
    );
  return (
    <Box as="section" {...frame} aria-label={name}>
      <chakra.button
        type="button"
        {...row}
        aria-expanded={open}
        onClick={toggle}
        cursor="pointer"
        textAlign="start"
        _hover={{ bg: "bg.muted" }}
      >
        {open ? <ChevronDown size={16} aria-hidden /> : <ChevronRight size={16} aria-hidden />}
        {head}
      </chakra.button>
      {open && (
        <Box px="3" pb="3">
          <Rows ws={String(group.ws_id)} name={name} actions={actions} paused={paused} />
        </Box>
      )}
    </Box>
  );
}

/** The live jobs of one narrative. */
function Rows({
  ws,
  name,
  actions,
  paused,
}: {
  ws: string;
  name: string;
  actions: JobActions;
  paused: boolean;
}) {
  const list = useJobList({
    scope: "readable",
    words: { ws, status: "live" },
    limit: 100,
    insert: true,
    whole: true,
    paused,
  });
  const stands = useStands(list.rows);
  const rows = useMemo(() => standing(list.rows, stands), [list.rows, stands]);
  if (list.error?.hidden) return <Text color="fg.muted">You can no longer read it.</Text>;
  if (list.loading && !rows.length) return <Skeleton height="20" />;
  return (
    <>
      <Trouble live={list} />
      {rows.length ? (
        <JobTable
          label={`Live jobs in ${name}`}
          rows={rows}
          columns={["state", "app", "user", "submitted", "waited", "running", "stand", "group"]}
          list={list}
          actions={actions}
          stands={stands}
        />
      ) : (
        <Text color="fg.muted">Nothing runs here now.</Text>
      )}
      <Box mt="2" fontSize="sm">
        <PageLink to={`/jobs/history${query({ ws, span: "all" })}`}>What has ended here</PageLink>
      </Box>
    </>
  );
}
