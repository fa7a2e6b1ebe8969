/** Short messages that go by themselves. */

import { createToaster, Portal, Stack, Toast, Toaster } from "@chakra-ui/react";

const toaster = createToaster({ placement: "bottom-end", pauseOnPageIdle: true, max: 4 });

export interface Say {
  title: string;
  description?: string;
  kind?: "info" | "success" | "warning" | "error" | "loading";
  /** A button in the message: "Undo". */
  action?: { label: string; onClick: () => void };
  /** Shown this long, ms. */
  duration?: number;
}

/** Shows a message; gives its id. */
export function say({ kind = "info", ...rest }: Say): string {
  return toaster.create({ type: kind, closable: true, ...rest });
}

/** Changes a message that is shown (progress). */
export function sayMore(id: string, { kind, ...rest }: Say): void {
  toaster.update(id, { ...rest, ...(kind ? { type: kind } : {}) });
}

export function Toasts() {
  return (
    <Portal>
      <Toaster toaster={toaster} insetInline={{ mdDown: "4" }}>
        {(toast) => (
          <Toast.Root width={{ md: "sm" }}>
            <Toast.Indicator />
            <Stack gap="1" flex="1" maxWidth="100%">
              {toast.title && <Toast.Title>{toast.title}</Toast.Title>}
              {toast.description && (
                <Toast.Description overflowWrap="anywhere">{toast.description}</Toast.Description>
              )}
            </Stack>
            {toast.action && <Toast.ActionTrigger>{toast.action.label}</Toast.ActionTrigger>}
            {toast.closable && <Toast.CloseTrigger />}
          </Toast.Root>
        )}
      </Toaster>
    </Portal>
  );
}
