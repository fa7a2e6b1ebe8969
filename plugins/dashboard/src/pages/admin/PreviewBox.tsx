import { Box, Text } from "@chakra-ui/react";
import { Eye } from "lucide-react";

import type { usePreview } from "./usePreview";

/** What would happen if the form above were saved; the server's words. */
export function PreviewBox({ preview }: { preview: ReturnType<typeof usePreview> }) {
  const { data, error, busy } = preview;
  return (
    <Box
      role="status"
      aria-busy={busy}
      aria-label="What it would do"
      display="flex"
      gap="2"
      alignItems="flex-start"
      bg="bg.muted"
      borderRadius="md"
      px="3"
      py="2"
      fontSize="sm"
      data-testid="preview"
      opacity={busy ? 0.6 : 1}
    >
      <Eye size={16} aria-hidden style={{ flexShrink: 0, marginTop: 3 }} />
      <Text overflowWrap="anywhere">
        {error
          ? error.message
          : (data?.text ?? (busy ? "Looking what it would do …" : "Nothing to look at yet."))}
      </Text>
    </Box>
  );
}
