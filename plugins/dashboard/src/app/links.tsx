/** Links within the dashboard, the same in both homes. */

import { Link as ChakraLink, type LinkProps } from "@chakra-ui/react";
import { type ReactNode } from "react";
import {
  Link as RouterLink,
  useNavigate,
  type LinkProps as RouterLinkProps,
} from "react-router-dom";

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

/** A link in a row, without style of its own: tables have hundreds (see `ROWS` in rowLook). */
export function RowLink({ to, ...rest }: { to: string } & Omit<RouterLinkProps, "to">) {
  const { root } = useHome();
  return <RouterLink to={root + to} {...rest} />;
}

/** The path of a job's or a batch's page. */
export function pathOf(job: { id: string; is_batch?: boolean | null }): string {
  return job.is_batch ? `/batches/${job.id}` : `/jobs/${job.id}`;
}
