import { Alert } from "@chakra-ui/react";
import type { ReactNode } from "react";

/** A message in the page: what happened, what is still true, what to do. */
export function Notice({
  kind,
  title,
  children,
  action,
}: {
  kind: "info" | "warning" | "error" | "success";
  title: ReactNode;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <Alert.Root
      status={kind}
      size="sm"
      alignItems="center"
      role={kind === "error" ? "alert" : "status"}
    >
      <Alert.Indicator />
      <Alert.Content>
        <Alert.Title>{title}</Alert.Title>
        {children && <Alert.Description overflowWrap="anywhere">{children}</Alert.Description>}
      </Alert.Content>
      {action}
    </Alert.Root>
  );
}
