import { Dialog, Portal, type DialogRootProps } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A dialog over the page; what is in it is made anew each time that it opens. */
export function Popup({
  open,
  onClose,
  children,
  ...more
}: {
  open: boolean;
  onClose: () => void;
  children: ReactNode;
} & Pick<DialogRootProps, "size" | "role" | "scrollBehavior" | "initialFocusEl">) {
  return (
    <Dialog.Root
      open={open}
      onOpenChange={(change) => {
        if (!change.open) onClose();
      }}
      placement="center"
      {...more}
    >
      <Portal>
        <Dialog.Backdrop />
        <Dialog.Positioner>
          <Dialog.Content>{open && children}</Dialog.Content>
        </Dialog.Positioner>
      </Portal>
    </Dialog.Root>
  );
}
