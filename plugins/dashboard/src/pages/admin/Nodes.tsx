import { Box, Flex, HStack, Text, VisuallyHidden } from "@chakra-ui/react";
import { Link } from "react-router-dom";

import { useAddress } from "../../app/links";
import type { Answer } from "../../app/types";
import { bytes, number, plural } from "../../lib/format";
import { Empty } from "../../parts/Empty";
import { fullness, jobsAt, nodeWords } from "./overview";

type Node = Answer<"Node">;

const LEVELS = [
  { bg: "bg.subtle", fg: "fg", name: "free" },
  { bg: "running.subtle", fg: "running.fg", name: "to a quarter" },
  { bg: "running.muted", fg: "running.fg", name: "to a half" },
  { bg: "running.emphasized", fg: "fg", name: "to three quarters" },
  { bg: "running.fg", fg: "bg", name: "nearly or quite full" },
] as const;

const HATCHED =
  "repeating-linear-gradient(45deg, transparent 0 5px, rgba(128,128,128,.35) 5px 7px)";

// node2 before node10.
const BY_NAME = new Intl.Collator("en", { numeric: true });

/** The machines as a grid, coloured by how many of their cores jobs have; each leads to its jobs. */
export function Nodes({ nodes }: { nodes: readonly Node[] }) {
  const address = useAddress();
  if (!nodes.length) return <Empty title="The pool’s machines are not known now." />;
  const sorted = [...nodes].sort((a, b) => BY_NAME.compare(a.machine, b.machine));
  const small = nodes.length > 120;
  return (
    <Box>
      <Flex as="ul" wrap="wrap" gap="1" listStyleType="none">
        {sorted.map((node) => {
          const level = LEVELS[fullness(node)] ?? LEVELS[0];
          const drained = node.state === "drained";
          const rest =
            `${plural(node.jobs, "job")}, load ${number(node.load, 1)}, ` +
            `${bytes(node.memory_claimed_mb * 1e6)} of ${bytes(node.memory_mb * 1e6)} memory; ` +
            node.groups.join(", ");
          const short = drained
            ? "emptying"
            : `${number(node.cpus_claimed)}/${number(node.cpus)} ${nodeWords(node.state)}`;
          const words = `${node.machine}: ${short}, ${rest}`;
          return (
            <Box as="li" key={node.machine}>
              <Box
                asChild
                display="block"
                width={small ? "18px" : "92px"}
                height={small ? "18px" : undefined}
                px={small ? "0" : "2"}
                py={small ? "0" : "1"}
                borderWidth={drained ? "2px" : "1px"}
                borderColor={drained ? "warning.solid" : "border"}
                borderRadius="sm"
                bg={level.bg}
                color={level.fg}
                bgImage={drained ? HATCHED : undefined}
                fontSize="xs"
                lineHeight="1.35"
                overflow="hidden"
                whiteSpace="nowrap"
                textOverflow="ellipsis"
              >
                <Link to={address(jobsAt({ status: "running", node: node.machine }))} title={words}>
                  {small ? (
                    <VisuallyHidden>{words}</VisuallyHidden>
                  ) : (
                    <>
                      <Text as="bdi" display="block" fontWeight="medium" truncate>
                        {node.machine}
                      </Text>{" "}
                      {short}
                      <VisuallyHidden>, {rest}</VisuallyHidden>
                    </>
                  )}
                </Link>
              </Box>
            </Box>
          );
        })}
      </Flex>
      <HStack gap="4" mt="2" fontSize="xs" color="fg.muted" wrap="wrap" aria-hidden>
        <Text>Cores claimed:</Text>
        {LEVELS.map(({ bg, name }) => (
          <HStack key={name} gap="1">
            <Box boxSize="10px" borderWidth="1px" borderRadius="2px" bg={bg} />
            {name}
          </HStack>
        ))}
        <HStack gap="1">
          <Box
            boxSize="10px"
            borderWidth="2px"
            borderColor="warning.solid"
            borderRadius="2px"
            bgImage={HATCHED}
          />
          being emptied
        </HStack>
      </HStack>
    </Box>
  );
}
