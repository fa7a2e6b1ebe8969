import { Box, Button, chakra, HStack, Link, Skeleton, Table, Text } from "@chakra-ui/react";
import { Download, ExternalLink } from "lucide-react";
import { useState } from "react";

import { useHome } from "../../app/home";
import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { bytes } from "../../lib/format";
import { artifactHref, safeHref } from "../../lib/href";
import { Section } from "../../parts/Section";
import { PartTrouble } from "./Facts";
import { pathOfPart } from "./useJobPage";

type Shown = Answer<"Shown">;

/** c: what the job has made to look at: the report, files, objects. version: changes with the job's
 * state, so that the report appears when the job ends. */
export function Report({ id, admin, status }: { id: string; admin: boolean; status: string }) {
  // The state is part of the question only in that a change of it asks anew.
  const live = useLive<Answer<"ReportOfJob">>(pathOfPart(id, "/report", admin, { at: status }));
  const { api } = useHome();
  const report = live.data;
  const objects = onceEach(report?.objects ?? []);
  const pages = objects.filter((one) => one.kind === "html" && one.href);
  const [chosen, setChosen] = useState<string | null>(null);
  const page = pages.find((one) => one.href === chosen) ?? pages[0];
  return (
    <Section id="report" title="Report objects">
      <PartTrouble live={live} what="Report objects" />
      {!report ? (
        !live.error && <Skeleton height="16" />
      ) : !objects.length ? (
        <Text color="fg.muted" fontSize="sm">
          {report.state === "not yet" ? "Not produced yet" : "Not produced"}
        </Text>
      ) : (
        <Box borderWidth="1px" borderRadius="md" overflowX="auto">
          <Table.Root size="sm">
            <Table.Header>
              <Table.Row>
                <Table.ColumnHeader>Name</Table.ColumnHeader>
                <Table.ColumnHeader>Type</Table.ColumnHeader>
                <Table.ColumnHeader textAlign="end">Size</Table.ColumnHeader>
                <Table.ColumnHeader>Reference</Table.ColumnHeader>
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {objects.map((one, at) => (
                <Table.Row key={`${one.ref}${at}`}>
                  <Table.Cell overflowWrap="anywhere" minWidth="12rem">
                    <Name one={one} api={api} />
                  </Table.Cell>
                  <Table.Cell overflowWrap="anywhere">{one.type}</Table.Cell>
                  <Table.Cell textAlign="end" whiteSpace="nowrap">
                    {one.size === null ? "–" : bytes(one.size)}
                  </Table.Cell>
                  <Table.Cell fontFamily="mono" fontSize="xs" overflowWrap="anywhere">
                    {one.ref}
                  </Table.Cell>
                </Table.Row>
              ))}
            </Table.Body>
          </Table.Root>
        </Box>
      )}
      {report !== undefined && report.more > 0 && (
        <Text fontSize="sm" color="fg.muted" mt="1">
          and {report.more} more
        </Text>
      )}
      {page && (
        <Box mt="3">
          <HStack justify="space-between" wrap="wrap" mb="1">
            <HStack gap="2" wrap="wrap">
              {pages.length > 1 &&
                pages.map((one) => (
                  <Button
                    key={one.href}
                    size="xs"
                    variant={one === page ? "subtle" : "outline"}
                    aria-pressed={one === page}
                    onClick={() => setChosen(one.href)}
                  >
                    <bdi>{one.name}</bdi>
                  </Button>
                ))}
            </HStack>
            <Text fontSize="xs" color="fg.muted">
              Made by the app; its scripts do not run here.
            </Text>
          </HStack>
          <chakra.iframe
            // No word in it: no scripts, no forms, no way up, an origin of its own.
            sandbox=""
            src={artifactHref(api, page.href) ?? undefined}
            title={`Report ${page.name ?? ""}`}
            referrerPolicy="no-referrer"
            loading="lazy"
            width="100%"
            height="28rem"
            borderWidth="1px"
            borderRadius="md"
            // Reports bring their own colours, made for paper.
            bg="white"
            colorScheme="light"
          />
        </Box>
      )}
    </Section>
  );
}

/** The report is an object of the Workspace, too, whose size is told there: shown once. */
function onceEach(objects: readonly Shown[]): Shown[] {
  const reports = new Set(objects.filter((one) => one.kind === "report").map((one) => one.ref));
  const again = (one: Shown) => one.kind === "object" && reports.has(one.ref);
  const twins = new Map(objects.filter(again).map((one) => [one.ref, one]));
  return objects
    .filter((one) => !again(one))
    .map((one) =>
      one.kind === "report" ? { ...one, size: one.size ?? twins.get(one.ref)?.size ?? null } : one,
    );
}

function Name({ one, api }: { one: Shown; api: string }) {
  const name = <bdi>{one.name ?? one.ref ?? "without a name"}</bdi>;
  const file = one.kind === "file" || one.kind === "html";
  const href = file ? artifactHref(api, one.href) : safeHref(one.href);
  if (!href)
    return (
      <>
        {name}
        {file && <Text color="fg.muted">deleted</Text>}
      </>
    );
  if (file)
    return (
      <Link href={href} download textDecoration="underline">
        {name} <Download size={12} aria-label="download" />
      </Link>
    );
  return (
    <Link href={href} target="_blank" rel="noopener noreferrer" textDecoration="underline">
      {name} <ExternalLink size={12} aria-label="opens in a new tab" />
    </Link>
  );
}
