import { Box, Heading, Text } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** Where there is nothing to show: why, and where to go. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Box textAlign="center" py="10" px="4">
      <Heading size="sm" as="h2" fontWeight="medium">
        {title}
      </Heading>
      {children && (
        <Text as="div" color="fg.muted" mt="2">
          {children}
        </Text>
      )}
    </Box>
  );
}
