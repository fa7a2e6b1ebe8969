/** The dashboard: who looks, the bar of pages, and the pages. */

import { Box, Button, Flex, HStack, Skeleton, Stack, Text } from "@chakra-ui/react";
import { QueryClientProvider } from "@tanstack/react-query";
import { Suspense, useEffect, useRef, useState, type ReactNode } from "react";
import { Link, Navigate, Route, Routes, useLocation } from "react-router-dom";

import AdminJobs from "../pages/lists/AdminJobs";
import Batch from "../pages/batch/Batch";
import History from "../pages/lists/History";
import Job from "../pages/job/Job";
import MyJobs from "../pages/lists/MyJobs";
import Narratives from "../pages/lists/Narratives";
import { Bell } from "../parts/Bell";
import { Boundary } from "../parts/Boundary";
import { KeyHelp } from "../parts/KeyHelp";
import { Notice } from "../parts/Notice";
import { Toasts } from "../parts/toasts";
import { useHome } from "./home";
import { later, useAllPages } from "./later";
import { createClient, useLive } from "./live";
import { useKeptTaste } from "./kept";
import { MeProvider, TasteProvider, useMe } from "./me";
import type { Me } from "./types";

const Log = later(() => import("../pages/log/Log"));
const Compare = later(() => import("../pages/compare/Compare"));
const Stats = later(() => import("../pages/stats/Stats"));
const Status = later(() => import("../pages/status/Status"));
const Overview = later(() => import("../pages/admin/Overview"));
const UserLimits = later(() => import("../pages/admin/UserLimits"));
const RunTimes = later(() => import("../pages/admin/RunTimes"));
const Audit = later(() => import("../pages/admin/Audit"));
const Settings = later(() => import("../pages/settings/Settings"));

const client = createClient();

interface Page {
  path: string;
  name: string;
  admin?: boolean;
}

const PAGES: Page[] = [
  { path: "/jobs", name: "My jobs" },
  { path: "/jobs/narratives", name: "By narrative" },
  { path: "/jobs/history", name: "History" },
  { path: "/stats", name: "Statistics" },
  { path: "/status", name: "System status" },
  { path: "/admin", name: "Overview", admin: true },
  { path: "/admin/jobs", name: "All jobs", admin: true },
  { path: "/admin/limits/users", name: "Limits", admin: true },
  { path: "/admin/audit", name: "Audit", admin: true },
  { path: "/settings", name: "Settings" },
];

/** What every part of the dashboard stands in: settings, calls, messages. */
export function Frame({ children }: { children: ReactNode }) {
  return (
    <QueryClientProvider client={client}>
      <TasteProvider>
        {children}
        <Toasts />
      </TasteProvider>
    </QueryClientProvider>
  );
}

/** Asks who looks; shows `children` once that is known, and a way in for who is nobody.
 * signIn: shown to those whom the server does not know. */
export function KnownReader({ signIn, children }: { signIn: ReactNode; children: ReactNode }) {
  const live = useLive<Me>("/me", { every: 5 * 60_000 });
  const signedOut = live.error?.signedOut ?? false;
  if (live.data)
    return (
      <MeProvider value={live.data}>
        {signedOut && (
          <Notice kind="warning" title="Please sign in again">
            Your session has ended; what you see stays. {signIn}
          </Notice>
        )}
        {children}
      </MeProvider>
    );
  if (signedOut) return signIn;
  if (live.error)
    return (
      <Box p="4">
        <Notice
          kind="error"
          title="The dashboard cannot be shown"
          action={
            <Button size="xs" variant="outline" onClick={live.refresh}>
              Try now
            </Button>
          }
        >
          {live.error.message}
        </Notice>
      </Box>
    );
  return <PageSkeleton />;
}

/** The bar and the pages; to be mounted at the dashboard's address with all below it. */
export function Dashboard({ corner }: { corner?: ReactNode }) {
  const me = useMe();
  const { pathname } = useLocation();
  useAllPages();
  return (
    <Box
      maxWidth="1600px"
      mx="auto"
      px={{ base: "3", md: "6" }}
      pb="16"
      // The theme has every element break its own way, so what a bdi stands in does not count.
      css={{ "& bdi": { overflowWrap: "anywhere" } }}
    >
      <TopBar corner={corner} />
      <Boundary key={pathname}>
        <Suspense fallback={<PageSkeleton />}>
          <Box as="main" id="main" tabIndex={-1} outline="none">
            <Routes>
              <Route index element={<Start />} />
              <Route path="jobs" element={<MyJobs />} />
              <Route path="jobs/narratives" element={<Narratives />} />
              <Route path="jobs/history" element={<History />} />
              <Route path="jobs/:id" element={<Job />} />
              <Route path="jobs/:id/log" element={<Log />} />
              <Route path="batches/:id" element={<Batch />} />
              <Route path="compare" element={<Compare />} />
              <Route path="stats" element={<Stats />} />
              <Route path="status" element={<Status />} />
              <Route path="settings" element={<Settings />} />
              {/* Also for owners of apps; the server knows who they are. */}
              <Route path="admin/limits/runtime" element={<RunTimes />} />
              {(me.is_admin || me.is_admin_reader) && (
                <>
                  <Route path="admin" element={<Overview />} />
                  <Route path="admin/jobs" element={<AdminJobs />} />
                  <Route path="admin/limits" element={<Navigate to="users" replace />} />
                  <Route path="admin/limits/users" element={<UserLimits />} />
                  <Route path="admin/audit" element={<Audit />} />
                </>
              )}
              <Route path="*" element={<NoSuchPage />} />
            </Routes>
          </Box>
        </Suspense>
      </Boundary>
      <KeyHelp />
    </Box>
  );
}

function Start() {
  const { root } = useHome();
  return <Navigate to={`${root}/jobs`} replace />;
}

function TopBar({ corner }: { corner?: ReactNode }) {
  const me = useMe();
  const { root } = useHome();
  const { pathname } = useLocation();
  const shown = PAGES.filter((page) => !page.admin || me.is_admin || me.is_admin_reader);
  const here = pathname.startsWith(root) ? pathname.slice(root.length) : pathname;
  const current = currentPage(here, shown);
  const nav = useRef<HTMLDivElement>(null);
  useKeptTaste();
  // On a phone the bar is longer than the screen: where one is must be seen.
  useEffect(() => {
    const link = nav.current?.querySelector<HTMLElement>("[aria-current]");
    if (nav.current && link) nav.current.scrollLeft = link.offsetLeft - 40;
  }, [current?.path]);
  return (
    <Flex
      as="header"
      align="center"
      gap="4"
      borderBottomWidth="1px"
      mb="5"
      position="sticky"
      top="0"
      bg="bg"
      zIndex="docked"
    >
      <Box ref={nav} as="nav" aria-label="Pages of the dashboard" overflowX="auto" flex="1">
        <HStack gap="1" minWidth="max-content">
          {shown.map((page) => (
            <Box
              key={page.path}
              asChild
              px="3"
              py="3"
              fontSize="sm"
              whiteSpace="nowrap"
              borderBottomWidth="2px"
              borderColor={page === current ? "brand.solid" : "transparent"}
              fontWeight={page === current ? "semibold" : "normal"}
              color={page === current ? "fg" : "fg.muted"}
              _hover={{ color: "fg" }}
            >
              <Link to={root + page.path} aria-current={page === current ? "page" : undefined}>
                {page.name}
              </Link>
            </Box>
          ))}
        </HStack>
      </Box>
      <HStack gap="2" flexShrink="0">
        <Text fontSize="sm" color="fg.muted" title="Signed in as" hideBelow="sm">
          {me.user}
        </Text>
        <Bell />
        {corner}
      </HStack>
    </Flex>
  );
}

/** The page of the bar that an address belongs to; the longest that fits. */
export function currentPage(path: string, pages: readonly Page[]): Page | undefined {
  if (path.startsWith("/admin/limits"))
    return pages.find((p) => p.path.startsWith("/admin/limits"));
  return pages.find((page) => page.path === path.replace(/\/$/, ""));
}

export function PageSkeleton() {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 150);
    return () => clearTimeout(timer);
  }, []);
  return (
    <Stack
      gap="3"
      role="status"
      aria-busy
      aria-label="Loading"
      visibility={late ? "visible" : "hidden"}
      p="2"
    >
      <Skeleton height="8" width="60" />
      {Array.from({ length: 8 }, (_, at) => (
        <Skeleton key={at} height="9" />
      ))}
    </Stack>
  );
}

function NoSuchPage() {
  return (
    <Notice kind="info" title="There is no such page">
      The address may be mistyped, or the page may be for administrators only.
    </Notice>
  );
}
