import { Dialog, Kbd, Table } from "@chakra-ui/react";
import { useState } from "react";

import { useKeys, useShownKeys } from "../app/keys";
import { Popup } from "./Popup";

/** "?" shows what keys do on this page. */
export function KeyHelp() {
  const [open, setOpen] = useState(false);
  useKeys([{ key: "?", does: "show these keys", run: () => setOpen(true) }]);
  const keys = useShownKeys();
  return (
    <Popup open={open} onClose={() => setOpen(false)}>
      <Dialog.Header>
        <Dialog.Title>Keys on this page</Dialog.Title>
      </Dialog.Header>
      <Dialog.Body>
        <Table.Root size="sm">
          <Table.Body>
            {keys.map(({ key, does }) => (
              <Table.Row key={key + does}>
                <Table.Cell width="24">
                  <Kbd>{key}</Kbd>
                </Table.Cell>
                <Table.Cell>{does}</Table.Cell>
              </Table.Row>
            ))}
          </Table.Body>
        </Table.Root>
      </Dialog.Body>
      <Dialog.CloseTrigger />
    </Popup>
  );
}
