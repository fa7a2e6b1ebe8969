import { HStack } from "@chakra-ui/react";

import { PageLink } from "../../app/links";

const TABS = [
  { to: "/admin/limits/users", name: "Jobs at once, and sizes" },
  { to: "/admin/limits/runtime", name: "Run time" },
];

/** The two pages of limits. */
export function LimitsTabs({ here }: { here: string }) {
  return (
    <HStack as="nav" aria-label="Limits" gap="2" mb="4">
      {TABS.map(({ to, name }) => (
        <PageLink
          key={to}
          to={to}
          aria-current={to === here ? "page" : undefined}
          px="3"
          py="1"
          borderWidth="1px"
          borderRadius="md"
          fontSize="sm"
          bg={to === here ? "brand.subtle" : undefined}
          color={to === here ? "brand.fg" : "fg.muted"}
          fontWeight={to === here ? "semibold" : "normal"}
        >
          {name}
        </PageLink>
      ))}
    </HStack>
  );
}
