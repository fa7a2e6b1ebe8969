/** How long jobs may run: rules by app and user, and a tester that says which one counts. */

import { Badge, Box, Button, Skeleton, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { stale } from "../../lib/stale";
import { Empty } from "../../parts/Empty";
import { Freshness, Trouble } from "../../parts/Freshness";
import { Notice } from "../../parts/Notice";
import { Rows, type Column } from "../../parts/Rows";
import { PageHead, Section } from "../../parts/Section";
import { Ago } from "../../parts/times";
import { ANY, byPrecedence, precedence, runTime, type Rule } from "./limits";
import { LimitsTabs } from "./LimitsTabs";
import { RuleForm } from "./RuleForm";
import { Tester } from "./Tester";

const EVERY_MS = 30_000;

const keyOf = (rule: Rule) => `${rule.app} ${rule.user}`;
const NEW = "";

export default function RunTimes() {
  const me = useMe();
  const live = useLive<Answer<"Rules">>("/limits/time", { every: EVERY_MS });
  const [open, setOpen] = useState<string | null>(null);
  const admin = me.is_admin || me.is_admin_reader;
  const may = me.may_write && (me.is_admin || !me.is_admin_reader);
  const rules = byPrecedence(live.data?.rules ?? []);
  const close = () => setOpen(null);
  if (live.error?.hidden && !live.data)
    return (
      <Notice kind="info" title="These pages are not for you">
        Administrators say how long jobs may run, and the owners of apps for their apps. Your own
        limits stand in the settings.
      </Notice>
    );
  return (
    <>
      <PageHead title={admin ? "Limits" : "Run time of your apps"}>
        <Freshness live={live} />
      </PageHead>
      {admin && <LimitsTabs here="/admin/limits/runtime" />}
      <Trouble live={live} />
      {!live.data && !live.error && <Loading />}
      {live.data && (
        <Box {...stale(live.error?.passing)}>
          <Section
            id="rules"
            title="Rules"
            aside={
              may &&
              open !== NEW && (
                <Button size="sm" variant="outline" onClick={() => setOpen(NEW)}>
                  Add a rule
                </Button>
              )
            }
          >
            <Text fontSize="sm" color="fg.muted" mb="3">
              The most specific rule counts: user and app, then app, then user, then everybody’s.
              Without a rule it is what the app or its client group says.
            </Text>
            {open === NEW && (
              <Box mb="3">
                <RuleForm rule={null} onDone={close} />
              </Box>
            )}
            {rules.length ? (
              <Rows
                label="Rules on run time"
                columns={may ? [...COLUMNS, change(open, setOpen)] : COLUMNS}
                rows={rules}
                keyOf={keyOf}
                below={(rule) => open === keyOf(rule) && <RuleForm rule={rule} onDone={close} />}
              />
            ) : (
              <Empty title="There are no rules." />
            )}
          </Section>
          <Section id="tester" title="What counts for …">
            <Tester rules={rules} />
          </Section>
        </Box>
      )}
    </>
  );
}

const COLUMNS: Column<Rule>[] = [
  {
    name: "Counts",
    width: "1%",
    cell: (rule) => (
      <Badge variant="outline" title="The lowest number that fits counts">
        {precedence(rule)}
      </Badge>
    ),
  },
  {
    name: "App",
    cell: (rule) => (rule.app === ANY ? <Any /> : <bdi>{rule.app}</bdi>),
  },
  {
    name: "User",
    cell: (rule) => (rule.user === ANY ? <Any /> : <bdi>{rule.user}</bdi>),
  },
  {
    name: "May run for",
    numeric: true,
    cell: (rule) => (
      <Text as="span" fontWeight="semibold">
        {runTime(rule.seconds)}
      </Text>
    ),
  },
  { name: "Note", cell: (rule) => <bdi>{rule.note ?? "–"}</bdi> },
  {
    name: "Set by",
    cell: (rule) => (
      <>
        <bdi>{rule.set_by}</bdi>
        {rule.by_owner && " (the app’s owner)"}, <Ago at={rule.set_at} />
      </>
    ),
  },
];

function Any() {
  return (
    <Text as="span" color="fg.muted">
      any
    </Text>
  );
}

function change(open: string | null, setOpen: (open: string | null) => void): Column<Rule> {
  return {
    name: "Change",
    quiet: true,
    width: "1%",
    cell: (rule) => (
      <Button
        size="xs"
        variant="outline"
        aria-label={`Change the rule for ${rule.app} and ${rule.user}`}
        aria-expanded={open === keyOf(rule)}
        onClick={() => setOpen(open === keyOf(rule) ? null : keyOf(rule))}
      >
        Change
      </Button>
    ),
  };
}

function Loading() {
  return (
    <Stack gap="3" role="status" aria-busy aria-label="Loading">
      {Array.from({ length: 6 }, (_, at) => (
        <Skeleton key={at} height="9" />
      ))}
    </Stack>
  );
}
