/** Is the system healthy, what is waiting, on what: for administrators, on one screen. */

import { Badge, Box, Grid, HStack, SimpleGrid } from "@chakra-ui/react";
import { CircleAlert, CircleCheck, CircleX } from "lucide-react";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { number, percent } from "../../lib/format";
import { FiguresPage } from "../../parts/FiguresPage";
import { Section } from "../../parts/Section";
import { Tile } from "../../parts/Tile";
import { Capacity } from "./Capacity";
import { Controls } from "./Controls";
import { Nodes } from "./Nodes";
import {
  claimedShare,
  concerns,
  type Concern,
  type Controls as ControlsState,
  type Overview as Page,
} from "./overview";
import { AppFailures, LargestUsers, Standing } from "./Standing";
import { Waits } from "./Waits";

const EVERY_MS = 15_000;

export default function Overview() {
  const live = useLive<Page>("/admin/overview", { every: EVERY_MS });
  const controls = useLive<ControlsState>("/controls", { every: EVERY_MS });
  return (
    <FiguresPage title="Overview" live={live}>
      {(page) => (
        <>
          <Concerns found={concerns(page, controls.data)} />
          <Figures page={page} />
          <Grid
            templateColumns={{ base: "minmax(0,1fr)", lg: "repeat(2, minmax(0,1fr))" }}
            columnGap="8"
          >
            <Section id="capacity" title="Capacity">
              <Capacity groups={page.capacity} />
            </Section>
            <Section id="waiting" title="What waits, and for what">
              <Waits waiting={page.waiting} />
            </Section>
          </Grid>
          <Section id="nodes" title="Machines">
            <Nodes nodes={page.nodes} />
          </Section>
          <Grid
            templateColumns={{ base: "minmax(0,1fr)", lg: "repeat(2, minmax(0,1fr))" }}
            columnGap="8"
          >
            <Section id="failures" title="Failing apps">
              <AppFailures apps={page.failures} />
            </Section>
            <Box minWidth="0">
              <Section id="silent" title="Silent runners">
                <Standing kind="silent" jobs={page.silent} />
              </Section>
              {controls.data && (
                <Section id="controls" title="Holding jobs back">
                  <Controls
                    state={controls.data}
                    groups={page.capacity.flatMap(({ group }) => (group === null ? [] : [group]))}
                  />
                </Section>
              )}
            </Box>
            <Section id="longest-waiting" title="Longest waiting">
              <Standing kind="waiting" jobs={page.longest_waiting} />
            </Section>
            <Section id="longest-running" title="Longest running">
              <Standing kind="running" jobs={page.longest_running} />
            </Section>
            <Section id="users" title="Largest users">
              <LargestUsers users={page.largest_users} />
            </Section>
          </Grid>
        </>
      )}
    </FiguresPage>
  );
}

function Concerns({ found }: { found: readonly Concern[] }) {
  if (!found.length)
    return (
      <HStack color="success.fg" fontSize="lg" fontWeight="semibold" gap="2" role="status">
        <CircleCheck size={22} aria-hidden />
        Nothing needs attention.
      </HStack>
    );
  return (
    <HStack as="ul" aria-label="Needs attention" wrap="wrap" gap="2" listStyleType="none">
      {found.map(({ key, text, colour, to }) => (
        <Badge
          as="li"
          key={key}
          size="lg"
          bg={`${colour}.subtle`}
          color={`${colour}.fg`}
          whiteSpace="normal"
          overflowWrap="anywhere"
          py="1"
        >
          {colour === "failed" ? (
            <CircleX size={18} aria-hidden style={{ flexShrink: 0 }} />
          ) : (
            <CircleAlert size={18} aria-hidden style={{ flexShrink: 0 }} />
          )}
          {to === undefined ? (
            text
          ) : to.startsWith("#") ? (
            <a
              href={to}
              onClick={(event) => {
                // The page's <base> would turn a bare fragment into another address.
                event.preventDefault();
                document.getElementById(to.slice(1))?.scrollIntoView({ block: "start" });
              }}
            >
              {text}
            </a>
          ) : (
            <PageLink to={to} color="inherit" textDecoration="underline">
              {text}
            </PageLink>
          )}
        </Badge>
      ))}
    </HStack>
  );
}

function Figures({ page }: { page: Page }) {
  const all = page.capacity.find(({ group }) => group === null);
  const waiting = page.waiting.reduce((sum, { count }) => sum + count, 0);
  const running = page.nodes.reduce((sum, { jobs }) => sum + jobs, 0);
  const ended = page.failures.reduce((sum, one) => sum + one.ended_hour, 0);
  const bad = page.failures.reduce((sum, one) => sum + one.failed_hour, 0);
  // What the newest minute had is not all told yet.
  const calls = page.calls.at(-2) ?? page.calls.at(-1);
  return (
    <SimpleGrid columns={{ base: 2, md: 3, lg: 6 }} gap="3" mt="4">
      <Tile label="Running" value={number(running)} colour="running" />
      <Tile label="Waiting" value={number(waiting)} colour="queued" />
      <Tile
        label="Cores claimed"
        value={all ? percent(claimedShare(all.cpus)) : "–"}
        note={all && `${number(all.cpus.claimed)} of ${number(all.cpus.total - all.cpus.drained)}`}
      />
      <Tile
        label="Failed, last hour"
        value={ended ? percent(bad / ended) : "–"}
        note={`${number(bad)} of ${number(ended)} ended`}
        colour={bad ? "failed" : undefined}
      />
      <Tile
        label="Silent runners"
        value={number(page.silent.length)}
        colour={page.silent.length ? "upstream_failed" : undefined}
      />
      <Tile
        label="API calls"
        value={calls ? number(calls.rpc + calls.rest) : "–"}
        note={
          calls ? `a minute; ${number(calls.rpc)} JSON-RPC, ${number(calls.rest)} REST` : "a minute"
        }
      />
    </SimpleGrid>
  );
}
