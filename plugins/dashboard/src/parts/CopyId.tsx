import { Button, HStack, Text } from "@chakra-ui/react";
import { Check, Copy } from "lucide-react";
import { useState } from "react";

import { shortId } from "../lib/format";

/** An id: its first 8 characters, all of it on hover, a button that copies it. */
export function CopyId({
  id,
  what = "id",
  whole = false,
}: {
  id: string;
  what?: string;
  whole?: boolean;
}) {
  const [copied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard.writeText(id).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    });
  };
  return (
    <HStack gap="1" display="inline-flex">
      <Text as="span" fontFamily="mono" fontSize="sm" title={id}>
        {whole ? id : shortId(id)}
      </Text>
      <Button
        size="2xs"
        variant="ghost"
        onClick={copy}
        aria-label={copied ? "Copied" : `Copy the ${what}`}
        title={copied ? "Copied" : `Copy the ${what}`}
      >
        {copied ? <Check size={12} aria-hidden /> : <Copy size={12} aria-hidden />}
      </Button>
    </HStack>
  );
}
