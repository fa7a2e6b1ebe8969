/** How many jobs each user may run at once, and how large they may be. */

import { Badge, Box, Button, HStack, Skeleton, Stack, Text } from "@chakra-ui/react";
import { Ban, Hourglass } from "lucide-react";
import { useState } from "react";
import { useSearchParams } from "react-router-dom";

import { PageLink } from "../../app/links";
import { useLive } from "../../app/live";
import { useMe } from "../../app/me";
import type { Answer } from "../../app/types";
import { number } from "../../lib/format";
import { stale } from "../../lib/stale";
import { withWords } from "../../lib/words";
import { Empty } from "../../parts/Empty";
import { FormField } from "../../parts/FormField";
import { Freshness, Trouble } from "../../parts/Freshness";
import { Rows, type Column } from "../../parts/Rows";
import { PageHead, Section } from "../../parts/Section";
import { Ago } from "../../parts/times";
import { ANY, inOrder, limitWords, type UserRow } from "./limits";
import { LimitsTabs } from "./LimitsTabs";
import { jobsAt } from "./overview";
import { Sizes } from "./Sizes";
import { lastDay, UserLimitForm } from "./UserLimitForm";

const EVERY_MS = 15_000;
const PAGE = 100;

/** Which form is open: a user's, the default's ("*"), a new one (""), none (null). */
type Open = string | null;

export default function UserLimits() {
  const me = useMe();
  const live = useLive<Answer<"Users">>("/limits/users", { every: EVERY_MS });
  const [search, setSearch] = useSearchParams();
  const [open, setOpen] = useState<Open>(null);
  const [shown, setShown] = useState(PAGE);
  const may = me.is_admin && me.may_write;
  const wanted = (search.get("user") ?? "").trim();
  const page = live.data;
  const found = inOrder(page?.users ?? []).filter(({ user }) =>
    user.toLowerCase().includes(wanted.toLowerCase()),
  );
  const close = () => setOpen(null);
  const columns = may ? [...COLUMNS, edit(open, setOpen)] : COLUMNS;
  return (
    <>
      <PageHead title="Limits">
        <Freshness live={live} />
      </PageHead>
      <LimitsTabs here="/admin/limits/users" />
      <Trouble live={live} />
      {!page && !live.error && <Loading />}
      {page && (
        <Box {...stale(live.error?.passing)}>
          <Default
            limit={page.default}
            editing={open === ANY}
            onEdit={may ? () => setOpen(ANY) : undefined}
            onDone={close}
          />
          <Section id="users" title="Users">
            <HStack gap="3" mb="3" align="end" wrap="wrap">
              <FormField
                label="Find a user"
                type="search"
                width="56"
                value={wanted}
                onValue={(user) => setSearch(withWords(search, { user }), { replace: true })}
              />
              {may && open !== "" && (
                <Button size="sm" variant="outline" onClick={() => setOpen("")}>
                  Limit another user
                </Button>
              )}
            </HStack>
            {open === "" && (
              <Box mb="3">
                <UserLimitForm user={null} own={null} onDone={close} />
              </Box>
            )}
            {found.length ? (
              <Rows
                label="Users and their limits"
                columns={columns}
                rows={found.slice(0, shown)}
                keyOf={(row) => row.user}
                below={(row) =>
                  open === row.user && (
                    <UserLimitForm user={row.user} own={row.own} onDone={close} />
                  )
                }
              />
            ) : (
              <Empty title={wanted ? "No such user here." : "Nobody has live jobs or a limit."}>
                Users appear here with live jobs or a limit of their own; “Limit another user” takes
                any name.
              </Empty>
            )}
            {found.length > shown && (
              <Button size="sm" variant="outline" mt="3" onClick={() => setShown(shown + PAGE)}>
                Show more of {number(found.length)} users
              </Button>
            )}
          </Section>
        </Box>
      )}
      <Sizes may={may} />
    </>
  );
}

function Default({
  limit,
  editing,
  onEdit,
  onDone,
}: {
  limit: Answer<"UserLimit"> | null;
  editing: boolean;
  onEdit?: () => void;
  onDone: () => void;
}) {
  return (
    <Box as="section" aria-label="Default limit">
      <HStack
        borderWidth="1px"
        borderLeftWidth="4px"
        borderLeftColor="brand.solid"
        borderRadius="md"
        px="4"
        py="3"
        gap="4"
        wrap="wrap"
      >
        <Box flex="1" minWidth="200px">
          <Text color="fg.muted" fontSize="sm">
            Default: jobs that each user without a limit of their own may run at once
          </Text>
          <Text fontSize="2xl" fontWeight="semibold" lineHeight="1.2" data-testid="default">
            {limit?.in_force ? limitWords(limit.places) : "no limit"}
          </Text>
          {limit && (
            <Text fontSize="sm" color="fg.muted" overflowWrap="anywhere">
              {limit.note && <>{limit.note} · </>}
              set by <bdi>{limit.set_by}</bdi> <Ago at={limit.set_at} />
              {limit.expires != null && ` · until the end of ${lastDay(limit.expires)}`}
            </Text>
          )}
        </Box>
        {onEdit && !editing && (
          <Button size="sm" variant="outline" onClick={onEdit}>
            Change the default
          </Button>
        )}
      </HStack>
      {editing && (
        <Box mt="2">
          <UserLimitForm user={ANY} own={limit} onDone={onDone} />
        </Box>
      )}
    </Box>
  );
}

const COLUMNS: Column<UserRow>[] = [
  {
    name: "User",
    cell: (row) => (
      <PageLink to={jobsAt({ status: "live", user: row.user })} fontWeight="medium">
        <bdi>{row.user}</bdi>
      </PageLink>
    ),
  },
  { name: "Limit", cell: (row) => <Limit row={row} /> },
  {
    name: "Running",
    numeric: true,
    cell: (row) =>
      row.limit !== null && row.running > row.limit ? (
        <Text
          as="span"
          color="warning.fg"
          fontWeight="semibold"
          title="More than the limit: what ran when it was set goes on"
        >
          {number(row.running)} (above)
        </Text>
      ) : (
        number(row.running)
      ),
  },
  { name: "Waiting", numeric: true, cell: (row) => number(row.waiting) },
  {
    name: "Held back",
    numeric: true,
    cell: (row) =>
      row.held_back ? (
        <Badge bg="warning.subtle" color="warning.fg" size="sm">
          <Hourglass size={14} aria-hidden />
          {number(row.held_back)}
        </Badge>
      ) : (
        "0"
      ),
  },
  {
    name: "Expires",
    cell: (row) => (row.own?.expires != null ? `end of ${lastDay(row.own.expires)}` : "–"),
  },
  { name: "Note", cell: (row) => <bdi>{row.own?.note ?? "–"}</bdi> },
  {
    name: "Set by",
    cell: (row) =>
      row.own ? (
        <>
          <bdi>{row.own.set_by}</bdi>, <Ago at={row.own.set_at} />
        </>
      ) : (
        "–"
      ),
  },
];

function Limit({ row }: { row: UserRow }) {
  const own = row.own?.in_force ?? false;
  return (
    <HStack gap="2" justify={{ base: "end", sm: "start" }} wrap="wrap">
      {row.limit === 0 ? (
        <Badge bg="failed.subtle" color="failed.fg" size="sm">
          <Ban size={14} aria-hidden />
          {limitWords(0)}
        </Badge>
      ) : (
        <Text fontWeight={own ? "semibold" : "normal"} fontVariantNumeric="tabular-nums">
          {limitWords(row.limit)}
        </Text>
      )}
      <Text fontSize="sm" color="fg.muted">
        {own ? "own" : row.own ? "default; the own one has expired" : "default"}
      </Text>
    </HStack>
  );
}

function edit(open: Open, setOpen: (open: Open) => void): Column<UserRow> {
  return {
    name: "Change",
    quiet: true,
    width: "1%",
    cell: (row) => (
      <Button
        size="xs"
        variant="outline"
        aria-label={`Change the limit of ${row.user}`}
        aria-expanded={open === row.user}
        onClick={() => setOpen(open === row.user ? null : row.user)}
      >
        Change
      </Button>
    ),
  };
}

function Loading() {
  return (
    <Stack gap="3" role="status" aria-busy aria-label="Loading">
      <Skeleton height="24" />
      {Array.from({ length: 6 }, (_, at) => (
        <Skeleton key={at} height="9" />
      ))}
    </Stack>
  );
}
