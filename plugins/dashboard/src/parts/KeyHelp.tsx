import { Dialog, Kbd, Portal, Table } from "@chakra-ui/react";
import { useState } from "react";

import { useKeys, useShownKeys } from "../app/keys";

/** "?" shows what keys do on this page. */
export function KeyHelp() {
  const [open, setOpen] = useState(false);
  useKeys([{ key: "?", does: "show these keys", run: () => setOpen(true) }]);
  const keys = useShownKeys();
  return (
    <Dialog.Root open={open} onOpenChange={(change) => setOpen(change.open)} placement="center">
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content>
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
          </Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
