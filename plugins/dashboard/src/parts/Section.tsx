import { Box, Flex, Heading } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A titled part of a page, with what belongs to its head at the right. */
export function Section({
  id,
  title,
  aside,
  children,
}: {
  id?: string;
  title: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
}) {
  return (
    <Box as="section" id={id} mt="6" aria-labelledby={id ? `${id}-title` : undefined}>
      <Flex align="center" justify="space-between" gap="3" mb="2" wrap="wrap">
        <Heading as="h2" size="md" id={id ? `${id}-title` : undefined}>
          {title}
        </Heading>
        {aside}
      </Flex>
      {children}
    </Box>
  );
}

/** The head of a page: its title, and what can be done with all of it. */
export function PageHead({ title, children }: { title: ReactNode; children?: ReactNode }) {
  return (
    <Flex align="center" justify="space-between" gap="3" wrap="wrap" mb="4">
      <Heading as="h1" size="xl">
        {title}
      </Heading>
      {children}
    </Flex>
  );
}
