import { Box, Button, HStack, NativeSelect, Skeleton, Text } from "@chakra-ui/react";
import { useState } from "react";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { plain } from "../../lib/ansi";
import { number, shortId } from "../../lib/format";
import { query } from "../../lib/words";
import { Section } from "../../parts/Section";
import { PartTrouble } from "../job/Facts";

type Diff = Answer<"LogDiff">;
const LINES = 1000;

/** What differs between the logs of the first job and another one; only when asked for. */
export function LogDiff({ ids, admin }: { ids: readonly string[]; admin: boolean }) {
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState<string | null>(null);
  const [loose, setLoose] = useState(true);
  const [part, setPart] = useState("last");
  const [first = ""] = ids;
  const other = chosen && ids.includes(chosen) ? chosen : (ids[1] ?? "");
  const live = useLive<Diff>(
    open
      ? `/compare/log${query({ ids: `${first},${other}`, lines: LINES, part, loose, as_admin: admin })}`
      : null,
    { keep: true },
  );
  const diff = live.data;
  return (
    <Section
      id="logs"
      title="Logs"
      aside={
        <HStack gap="2" wrap="wrap">
          {open && ids.length > 2 && (
            <NativeSelect.Root size="xs" width="40">
              <NativeSelect.Field
                aria-label="Compare with"
                value={other}
                onChange={(event) => setChosen(event.target.value)}
              >
                {ids.slice(1).map((id) => (
                  <option key={id} value={id}>
                    with {shortId(id)}
                  </option>
                ))}
              </NativeSelect.Field>
              <NativeSelect.Indicator />
            </NativeSelect.Root>
          )}
          {open && (
            <>
              <Button
                size="xs"
                variant={loose ? "subtle" : "outline"}
                aria-pressed={loose}
                onClick={() => setLoose(!loose)}
              >
                Ignore numbers and times
              </Button>
              <Button
                size="xs"
                variant="outline"
                onClick={() => setPart(part === "last" ? "first" : "last")}
              >
                {part === "last" ? `First ${number(LINES)} lines` : `Last ${number(LINES)} lines`}
              </Button>
            </>
          )}
          <Button size="xs" variant="outline" aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? "Hide" : "Compare the logs"}
          </Button>
        </HStack>
      }
    >
      {open && <PartTrouble live={live} what="The logs" />}
      {open && !diff && !live.error && <Skeleton height="40" />}
      {open && diff && <Hunks diff={diff} />}
      {!open && (
        <Text color="fg.muted" fontSize="sm">
          Compared when you ask for it.
        </Text>
      )}
    </Section>
  );
}

function Hunks({ diff }: { diff: Diff }) {
  const [a, b] = diff.jobs;
  const cut = diff.jobs.some((one) => one.cut);
  return (
    <>
      {cut && (
        <Text fontSize="sm" color="fg.muted" mb="1">
          Of each log the {diff.part} {number(LINES)} lines are compared.
        </Text>
      )}
      {diff.same || !diff.hunks.length ? (
        <Text fontSize="sm">The logs say the same.</Text>
      ) : (
        <Box
          tabIndex={0}
          role="region"
          aria-label="What differs between the logs"
          borderWidth="1px"
          borderRadius="md"
          overflow="auto"
          maxHeight="36rem"
          fontFamily="mono"
          fontSize="13px"
          lineHeight="20px"
        >
          {diff.hunks.map((hunk, at) => (
            <Box key={at} borderTopWidth={at ? "1px" : undefined} minWidth="max-content">
              {hunk.map((line, n) => {
                const gone = line.sign === "-";
                const added = line.sign === "+";
                const job = added ? b : a;
                const number = added ? line.b : line.a;
                return (
                  <HStack
                    key={n}
                    gap="3"
                    px="2"
                    align="start"
                    bg={gone ? "failed.subtle" : added ? "success.subtle" : undefined}
                    color={gone ? "failed.fg" : added ? "success.fg" : undefined}
                    whiteSpace="pre"
                  >
                    <Text
                      as="span"
                      width="1ch"
                      aria-label={
                        gone ? "only in the first" : added ? "only in the second" : "in both"
                      }
                    >
                      {line.sign}
                    </Text>
                    <PageLink
                      to={`/jobs/${job?.id ?? ""}/log?line=${number ?? 0}`}
                      color="inherit"
                      width="7ch"
                      justifyContent="end"
                      flexShrink="0"
                    >
                      {number}
                    </PageLink>
                    <bdi dir="ltr">{plain(line.text)}</bdi>
                  </HStack>
                );
              })}
            </Box>
          ))}
        </Box>
      )}
    </>
  );
}
