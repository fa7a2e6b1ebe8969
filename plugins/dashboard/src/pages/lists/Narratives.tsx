/** "/jobs/narratives": what runs in narratives that the reader can read, whoever started it. */

import {
  Box,
  Button,
  Flex,
  Skeleton,
  Text,
  useChakraContext,
  type SystemStyleObject,
} from "@chakra-ui/react";
import { ChevronDown, ChevronRight } from "lucide-react";
import { memo, useMemo, useState } from "react";
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

// A hundred narratives are made of plain elements with these classes, as rows are (see rowLook.ts);
// those that are not in sight are not laid out.
const GROUPS: SystemStyleObject = {
  "& .group": {
    borderWidth: "1px",
    borderRadius: "md",
    mb: "2",
    contentVisibility: "auto",
    containIntrinsicSize: "auto 64px",
  },
  "& .head": {
    display: "flex",
    alignItems: "center",
    gap: "3",
    px: "4",
    py: "2.5",
    width: "full",
    textAlign: "start",
  },
  "& button.head": {
    cursor: "pointer",
    _hover: { bg: "bg.muted" },
    _focusVisible: {
      outline: "2px solid",
      outlineColor: "brand.focusRing",
      outlineOffset: "-2px",
      borderRadius: "md",
    },
  },
  "& .icon": { flexShrink: "0" },
  "& .names": { flex: "1", minWidth: "0", display: "block" },
  "& .names > *": {
    display: "block",
    overflow: "hidden",
    textOverflow: "ellipsis",
    whiteSpace: "nowrap",
  },
  "& .name": { fontWeight: "medium" },
  "& .owner": { fontSize: "xs", color: "fg.muted" },
  "& .counts": { display: "flex", gap: "3", fontSize: "sm", flexShrink: "0" },
  "& .count": { display: "inline-flex", alignItems: "center", gap: "1" },
  "& .word": { display: { base: "none", md: "inline" } },
};

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
      <Box css={GROUPS} {...stale(groups.failedAt)}>
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

/** What is said of a narrative whether it is open or not; drawn anew only if that has changed. */
const Head = memo(function Head({ group }: { group: Group }) {
  const { token } = useChakraContext();
  const name = nameOf(group);
  return (
    <>
      <span className="names">
        <span className="name" title={name}>
          <bdi>{name}</bdi>
        </span>
        {group.owner && (
          <span className="owner">
            owned by <bdi>{group.owner}</bdi>
          </span>
        )}
      </span>
      <span className="counts">
        {BAR_ORDER.filter((state) => group.counts[state]).map((state) => {
          const { word, colour } = look(state);
          return (
            <span
              key={state}
              className="count"
              style={{ color: token.var(`colors.${colour}.fg`) }}
              title={word}
            >
              <StateIcon state={state} />
              {number(group.counts[state] ?? 0)}
              <span className="word">{word.toLowerCase()}</span>
            </span>
          );
        })}
      </span>
    </>
  );
});

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
  if (group.ws_id === null)
    return (
      <div className="group">
        <div className="head">
          <Head group={group} />
          <PageLink to="/jobs" fontSize="sm">
            My jobs
          </PageLink>
        </div>
      </div>
    );
  const name = nameOf(group);
  const Chevron = open ? ChevronDown : ChevronRight;
  return (
    <section className="group" aria-label={name}>
      <button type="button" className="head" aria-expanded={open} onClick={toggle}>
        <Chevron size={16} className="icon" aria-hidden />
        <Head group={group} />
      </button>
      {open && (
        <Box px="3" pt="2" pb="3">
          <Rows ws={String(group.ws_id)} name={name} actions={actions} paused={paused} />
        </Box>
      )}
    </section>
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
