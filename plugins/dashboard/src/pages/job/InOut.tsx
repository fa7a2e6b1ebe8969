import { Box, Button, chakra, HStack, Link, Skeleton, Stack, Table, Text } from "@chakra-ui/react";
import { Copy, Download } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";

import { said } from "../../app/api";
import { useHome } from "../../app/home";
import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { bytes, number } from "../../lib/format";
import { safeHref } from "../../lib/href";
import {
  calledBy,
  flatten,
  FOLD_LETTERS,
  isRef,
  shown,
  unwrapped,
  type ParamRow,
} from "../../lib/params";
import { Section } from "../../parts/Section";
import { say } from "../../parts/toasts";
import { PartTrouble } from "./Facts";
import { pathOfPart } from "./useJobPage";

type Part = Answer<"IoPart">;

/** e: what went into the job and what came out; read when the reader comes near. objects: the
 * address of an object's page, up to its reference; null: there is none. */
export function InOut({
  id,
  admin,
  status,
  objects,
}: {
  id: string;
  admin: boolean;
  status: string;
  objects: string | null;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  useEffect(() => {
    if (near || !box.current) return;
    const observer = new IntersectionObserver(
      ([entry]) => {
        if (entry?.isIntersecting) setNear(true);
      },
      { rootMargin: "200px" },
    );
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [near]);
  const path = pathOfPart(id, "/io", admin, { at: status });
  const live = useLive<Answer<"JobIo">>(near ? path : null);
  const io = live.data;
  return (
    <Section id="io" title="Input and output">
      <Box ref={box} minHeight="24">
        <PartTrouble live={live} what="Input and output" />
        {!io ? (
          !live.error && <Skeleton height="32" />
        ) : (
          <Stack gap="5">
            <OnePart
              {...{ id, admin, objects }}
              name="params"
              title="Input"
              part={io.params}
              names={io.names}
              none="No input"
            />
            <OnePart
              {...{ id, admin, objects }}
              name="output"
              title="Output"
              part={io.output}
              none="No output"
            />
            {io.error && (
              <OnePart
                {...{ id, admin, objects }}
                name="error"
                title="Error"
                part={io.error}
                none=""
              />
            )}
          </Stack>
        )}
      </Box>
    </Section>
  );
}

function OnePart({
  id,
  admin,
  objects,
  name,
  title,
  part,
  names = {},
  none,
}: {
  id: string;
  admin: boolean;
  objects: string | null;
  name: string;
  title: string;
  part: Part | null;
  /** What people call the first words of its paths. */
  names?: Readonly<Record<string, string>>;
  none: string;
}) {
  const { api } = useHome();
  const [raw, setRaw] = useState(false);
  const json = useMemo(() => JSON.stringify(part?.value, null, 2) ?? "", [part]);
  const found = useMemo(() => flatten(unwrapped(part?.value ?? null)), [part]);
  if (!part)
    return (
      <Box>
        <Text fontWeight="semibold" fontSize="sm">
          {title}
        </Text>
        <Text color="fg.muted" fontSize="sm">
          {none}
        </Text>
      </Box>
    );
  const copy = () =>
    void navigator.clipboard.writeText(json).then(
      () => say({ kind: "success", title: `${title} copied`, duration: 2000 }),
      (problem: unknown) =>
        say({ kind: "error", title: "Nothing was copied", description: said(problem) }),
    );
  return (
    <Box data-part={name}>
      <HStack justify="space-between" wrap="wrap" mb="1">
        <chakra.h3 fontWeight="semibold" fontSize="sm">
          {title}{" "}
          <Text as="span" color="fg.muted" fontWeight="normal">
            {bytes(part.bytes)}
            {part.cut ? ", shortened here: download it for all of it" : ""}
          </Text>
        </chakra.h3>
        <HStack gap="1">
          <Button size="xs" variant="outline" aria-pressed={raw} onClick={() => setRaw(!raw)}>
            {raw ? "Table" : "JSON"}
          </Button>
          <Button size="xs" variant="outline" onClick={copy} aria-label={`Copy the ${title}`}>
            <Copy size={12} aria-hidden /> Copy
          </Button>
          <Button asChild size="xs" variant="outline">
            <a
              href={api + pathOfPart(id, "/io/raw", admin, { part: name })}
              download
              aria-label={`Download the ${title}`}
            >
              <Download size={12} aria-hidden /> Download
            </a>
          </Button>
        </HStack>
      </HStack>
      {raw ? (
        <Box borderWidth="1px" borderRadius="md" p="3">
          <Folded text={json} mono />
        </Box>
      ) : (
        <Box borderWidth="1px" borderRadius="md">
          <Table.Root size="sm">
            <Table.Header srOnly>
              <Table.Row>
                <Table.ColumnHeader>Name</Table.ColumnHeader>
                <Table.ColumnHeader>Value</Table.ColumnHeader>
              </Table.Row>
            </Table.Header>
            <Table.Body>
              {found.rows.map((row, at) => (
                <Table.Row key={at}>
                  <Table.Cell
                    verticalAlign="top"
                    width={{ base: "40%", md: "18rem" }}
                    color="fg.muted"
                    overflowWrap="anywhere"
                  >
                    <Named path={row.path} names={names} />
                  </Table.Cell>
                  <Table.Cell overflowWrap="anywhere">
                    <Value row={row} objects={objects} />
                  </Table.Cell>
                </Table.Row>
              ))}
            </Table.Body>
          </Table.Root>
          {found.more && (
            <Text fontSize="sm" color="fg.muted" p="2">
              Only the first {number(found.rows.length)} values are shown; the JSON has all.
            </Text>
          )}
        </Box>
      )}
    </Box>
  );
}

/** The way to a value; what people call it, if that is known, with the way in small. */
function Named({ path, names }: { path: string; names: Readonly<Record<string, string>> }) {
  const [name, rest] = calledBy(path, names);
  if (name === undefined) return <bdi>{path || "value"}</bdi>;
  return (
    <>
      <chakra.bdi color="fg">
        {name}
        {rest && ` ${rest}`}
      </chakra.bdi>
      <chakra.bdi display="block" fontSize="xs">
        {path}
      </chakra.bdi>
    </>
  );
}

function Value({ row, objects }: { row: ParamRow; objects: string | null }) {
  const href = isRef(row.value) && objects ? safeHref(objects + row.value) : null;
  if (href)
    return (
      <Link href={href} target="_blank" rel="noopener noreferrer" textDecoration="underline">
        {row.value}
      </Link>
    );
  if (row.empty || row.value === null || row.value === "")
    return (
      <Text as="span" color="fg.muted" fontStyle="italic">
        {shown(row)}
      </Text>
    );
  return (
    <Folded text={shown(row)} mono={typeof row.value === "string" && row.value.includes("\n")} />
  );
}

/** A text; one that is long is folded until somebody wants all of it. */
function Folded({ text, mono = false }: { text: string; mono?: boolean }) {
  const [open, setOpen] = useState(false);
  const long = text.length > FOLD_LETTERS;
  return (
    <>
      <chakra.bdi
        whiteSpace="pre-wrap"
        overflowWrap="anywhere"
        fontFamily={mono ? "mono" : undefined}
        fontSize={mono ? "xs" : undefined}
      >
        {long && !open ? `${text.slice(0, FOLD_LETTERS)}…` : text}
      </chakra.bdi>
      {long && (
        <Button size="2xs" variant="outline" ms="2" onClick={() => setOpen(!open)}>
          {open ? "Fold" : `Show all ${number(text.length)} letters`}
        </Button>
      )}
    </>
  );
}
