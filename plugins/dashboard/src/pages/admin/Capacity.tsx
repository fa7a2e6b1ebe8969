import { Box, Flex, Grid, HStack, Text } from "@chakra-ui/react";
import { Fragment } from "react";

import type { Answer } from "../../app/types";
import { bytes, number, percent, plural } from "../../lib/format";
import { Empty } from "../../parts/Empty";
import { Drained } from "../status/Lines";
import { claimedShare, pieces, type Piece } from "./overview";

type Amounts = Answer<"Amounts">;
type Group = Answer<"GroupCapacity">;

const LOOKS: Record<Piece["name"], { bg: string; image?: string }> = {
  used: { bg: "running.solid" },
  claimed: { bg: "running.emphasized" },
  drained: {
    bg: "warning.emphasized",
    image: "repeating-linear-gradient(45deg, transparent 0 4px, rgba(0,0,0,.25) 4px 6px)",
  },
  free: { bg: "bg.emphasized" },
};

const RESOURCES = [
  { key: "cpus", name: "Cores", said: (n: number) => number(n) },
  { key: "memory_mb", name: "Memory", said: (n: number) => bytes(n * 1e6) },
  { key: "disk_mb", name: "Disk", said: (n: number) => bytes(n * 1e6) },
] as const;

/** What the pool and each client group have, and how much of it is given to jobs. */
export function Capacity({ groups }: { groups: readonly Group[] }) {
  if (!groups.length) return <Empty title="The pool’s machines are not known now." />;
  return (
    <Box>
      <Grid templateColumns={{ base: "1fr", sm: "64px 1fr" }} columnGap="3" rowGap="1">
        {groups.map((group) => (
          <Fragment key={`${group.group} ${group.cluster}`}>
            <HStack gridColumn="1 / -1" mt="2" gap="2" wrap="wrap">
              <Text fontWeight="semibold">
                {group.group === null ? "All machines" : <bdi>{group.group}</bdi>}
              </Text>
              <Text fontSize="sm" color="fg.muted">
                {plural(group.machines, "machine")}, cluster <bdi>{group.cluster}</bdi>
              </Text>
              {group.drained && <Drained />}
            </HStack>
            {RESOURCES.map(({ key, name, said }) => (
              <Bar key={key} name={name} amounts={group[key]} said={said} />
            ))}
          </Fragment>
        ))}
      </Grid>
      <HStack gap="4" mt="3" fontSize="xs" color="fg.muted" wrap="wrap" aria-hidden>
        {(Object.keys(LOOKS) as Piece["name"][]).map((name) => (
          <HStack key={name} gap="1">
            <Box
              boxSize="10px"
              borderRadius="2px"
              bg={LOOKS[name].bg}
              bgImage={LOOKS[name].image}
            />
            {name}
          </HStack>
        ))}
      </HStack>
    </Box>
  );
}

function Bar({
  name,
  amounts,
  said,
}: {
  name: string;
  amounts: Amounts;
  said: (n: number) => string;
}) {
  const words = [
    `${said(amounts.used)} used`,
    `${said(amounts.claimed)} claimed`,
    ...(amounts.drained ? [`${said(amounts.drained)} drained`] : []),
    `${said(amounts.free)} free`,
    `of ${said(amounts.total)}`,
  ].join(", ");
  return (
    <>
      <Text fontSize="sm" color="fg.muted">
        {name}
      </Text>
      <Flex align="center" gap="3" wrap={{ base: "wrap", sm: "nowrap" }} minWidth="0">
        <Flex
          role="img"
          aria-label={`${name}: ${words}`}
          title={words}
          flex="1"
          minWidth="100px"
          height="12px"
          borderRadius="sm"
          overflow="hidden"
          bg="bg.emphasized"
        >
          {pieces(amounts)
            .filter(({ amount }) => amount > 0)
            .map((piece) => (
              <Box
                key={piece.name}
                flexGrow={piece.amount}
                flexBasis="0"
                bg={LOOKS[piece.name].bg}
                bgImage={LOOKS[piece.name].image}
              />
            ))}
        </Flex>
        <Text
          fontSize="sm"
          fontVariantNumeric="tabular-nums"
          whiteSpace="nowrap"
          width={{ sm: "200px" }}
          aria-hidden
        >
          <Text as="span" fontWeight="semibold">
            {percent(claimedShare(amounts))}
          </Text>{" "}
          <Text as="span" color="fg.muted">
            · {said(amounts.free)} free of {said(amounts.total)}
          </Text>
        </Text>
      </Flex>
    </>
  );
}
