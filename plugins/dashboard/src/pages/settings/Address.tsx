import { Badge, Box, Button, HStack } from "@chakra-ui/react";
import { Check, CircleHelp } from "lucide-react";
import { useState } from "react";

import { useChange } from "../../app/live";
import { FormField } from "../../parts/FormField";
import { say } from "../../parts/toasts";
import { channelName } from "./wishes";

/** Where a channel's messages go; an address that is new has to be confirmed by the code that was
 * sent there. */
export function Address({
  channel,
  value,
  onValue,
  error,
  help,
  saved,
  confirmed,
}: {
  channel: "email" | "slack" | "webhook";
  value: string;
  onValue: (value: string) => void;
  error: string | null;
  help: string;
  /** What the server has. */
  saved: string;
  confirmed: boolean;
}) {
  const test = useChange();
  const isSaved = saved !== "" && value.trim() === saved;
  const needsCode = isSaved && channel !== "webhook" && !confirmed;
  const send = () =>
    test.mutate(
      { path: "/settings/notices/test", body: { channel } },
      {
        onSuccess: () =>
          say({ kind: "success", title: `A test is on its way by ${channelName(channel)}` }),
      },
    );
  return (
    <HStack gap="3" align="start" wrap="wrap">
      <FormField
        label={channel === "webhook" ? "Webhook" : `${channelName(channel)} address`}
        width={{ base: "100%", sm: "80" }}
        value={value}
        onValue={onValue}
        error={error ?? test.error?.message}
        help={help}
        autoComplete={channel === "email" ? "email" : "off"}
      />
      {isSaved && (
        <HStack gap="2" pt={{ base: "0", sm: "30px" }} wrap="wrap">
          {needsCode ? (
            <Badge bg="warning.subtle" color="warning.fg" size="sm">
              <CircleHelp size={14} aria-hidden />
              Not confirmed: nothing is sent there yet
            </Badge>
          ) : (
            <>
              <Badge bg="success.subtle" color="success.fg" size="sm">
                <Check size={14} aria-hidden />
                {channel === "webhook" ? "In use" : "Confirmed"}
              </Badge>
              <Button size="xs" variant="outline" onClick={send} loading={test.isPending}>
                Send a test
              </Button>
            </>
          )}
        </HStack>
      )}
      {needsCode && <Code channel={channel} />}
    </HStack>
  );
}

function Code({ channel }: { channel: "email" | "slack" | "webhook" }) {
  const [code, setCode] = useState("");
  const confirm = useChange();
  const go = () => {
    if (!code.trim()) return;
    // Not by onSuccess: this field goes once the address is confirmed.
    void confirm
      .mutateAsync({ path: "/settings/notices/confirm", body: { channel, code: code.trim() } })
      .then(
        () => say({ kind: "success", title: "The address is confirmed" }),
        () => undefined, // stands at the field
      );
  };
  return (
    <Box width="100%">
      <HStack gap="2" align="start">
        <FormField
          label="Code of the message that was sent there"
          width="72"
          inputMode="numeric"
          maxLength={20}
          value={code}
          onValue={setCode}
          error={confirm.error?.message}
          autoComplete="one-time-code"
          onKeyDown={(event) => {
            // Enter belongs to the code, not to the form around it.
            if (event.key !== "Enter") return;
            event.preventDefault();
            go();
          }}
        />
        <Button
          size="sm"
          variant="outline"
          mt="26px"
          onClick={go}
          disabled={!code.trim()}
          loading={confirm.isPending}
        >
          Confirm
        </Button>
      </HStack>
    </Box>
  );
}
