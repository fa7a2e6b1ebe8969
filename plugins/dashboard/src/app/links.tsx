/** Links within the dashboard, the same in both homes. */

import { Link as ChakraLink, type LinkProps } from "@chakra-ui/react";
import { type ReactNode } from "react";
import { Link as RouterLink, useNavigate } from "react-router-dom";

import { useHome } from "./home";

/** The router's address of a path of the dashboard ("/jobs/66f2…"). */
export function useAddress(): (path: string) => string {
  const { root } = useHome();
  return (path) => root + path;
}

/** Goes to a path of the dashboard. */
export function useGo(): (path: string, options?: { replace?: boolean }) => void {
  const navigate = useNavigate();
  const { root } = useHome();
  return (path, options) => void navigate(root + path, options);
}

/** A link to a path of the dashboard. */
export function PageLink({
  to,
  children,
  ...rest
}: { to: string; children: ReactNode } & Omit<LinkProps, "href" | "asChild">) {
  const { root } = useHome();
  return (
    <ChakraLink asChild {...rest}>
      <RouterLink to={root + to}>{children}</RouterLink>
    </ChakraLink>
  );
}

/** The path of a job's or a batch's page. */
export function pathOf(job: { id: string; is_batch?: boolean | null }): string {
  return job.is_batch ? `/batches/${job.id}` : `/jobs/${job.id}`;
}
