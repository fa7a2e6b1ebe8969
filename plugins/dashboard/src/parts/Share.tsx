import {
  Button,
  CloseButton,
  Dialog,
  Field,
  HStack,
  Input,
  NativeSelect,
  Stack,
  Text,
} from "@chakra-ui/react";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { call, said } from "../app/api";
import { useHome } from "../app/home";
import { useChange } from "../app/live";
import type { Answer, JobPage } from "../app/types";
import { Notice } from "./Notice";
import { say } from "./toasts";
import { Popup } from "./Popup";

const UNDO_MS = 10_000;

type Right = NonNullable<JobPage["shared"]>["users"][number]["right"];

/** A job or a batch, as far as sharing it goes. */
export interface Shareable {
  id: string;
  is_batch?: boolean;
  narrative?: { ws_id: number | null; title: string | null } | null;
  can?: { share: boolean } | null;
  shared?: JobPage["shared"];
}

/** Who else may read or manage the job. One that ran in a narrative is shared by sharing the narrative. */
export function Share({
  job,
  open,
  onClose,
}: {
  job: Shareable;
  open: boolean;
  onClose: () => void;
}) {
  return (
    <Popup open={open} onClose={onClose}>
      <Dialog.Header>
        <Dialog.Title>Share this {job.is_batch ? "batch" : "job"}</Dialog.Title>
      </Dialog.Header>
      <Dialog.Body pb="6">
        {job.can?.share ? <ByName job={job} /> : <ByNarrative job={job} />}
      </Dialog.Body>
      <Dialog.CloseTrigger asChild>
        <CloseButton size="sm" />
      </Dialog.CloseTrigger>
    </Popup>
  );
}

function ByNarrative({ job }: { job: Shareable }) {
  const { narrative } = job;
  return (
    <Text>
      {narrative?.ws_id ? (
        <>
          This {job.is_batch ? "batch" : "job"} ran in the narrative{" "}
          <bdi>{narrative.title ?? narrative.ws_id}</bdi>. Whoever may read the narrative may read
          it, and whoever may write there may cancel and retry it: share the narrative instead.
        </>
      ) : (
        "Only the owner can share it."
      )}
    </Text>
  );
}

function ByName({ job }: { job: Shareable }) {
  const { api } = useHome();
  const client = useQueryClient();
  const change = useChange<Answer<"NewState">>();
  // What is being changed shows as it will be.
  const asked: { users?: string[]; right?: Right } = change.isPending
    ? (change.variables.body as object)
    : {};
  const [names, setNames] = useState("");
  const [right, setRight] = useState<Right>("read");
  const users = job.shared?.users ?? [];
  const wanted = names.split(/[\s,;]+/).filter(Boolean);
  const share = (list: string[], what: Right) =>
    change.mutateAsync({
      path: `/jobs/${job.id}/share`,
      body: { users: list, right: what },
    });
  const unshare = async (user: string, had: Right) => {
    try {
      await change.mutateAsync({
        path: `/jobs/${job.id}/unshare`,
        body: { users: [user] },
      });
      say({
        title: `No longer shared with ${user}`,
        duration: UNDO_MS,
        action: {
          label: "Undo",
          // The dialog may be closed by then: not by its own hook.
          onClick: () =>
            void call(api + `/jobs/${job.id}/share`, {
              method: "POST",
              body: { users: [user], right: had },
            }).then(
              () => {
                say({ kind: "success", title: `Shared with ${user} again` });
                void client.invalidateQueries({ queryKey: ["api"], refetchType: "active" });
              },
              (problem: unknown) =>
                say({
                  kind: "error",
                  title: "It was not shared again",
                  description: said(problem),
                }),
            ),
        },
      });
    } catch {
      // Shown in the dialog.
    }
  };
  return (
    <Stack gap="4">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (wanted.length)
            void share(wanted, right).then(
              () => setNames(""),
              () => undefined,
            );
        }}
      >
        <HStack align="end">
          <Field.Root>
            <Field.Label>User names</Field.Label>
            <Input
              value={names}
              autoComplete="off"
              placeholder="ben, cho"
              onChange={(event) => setNames(event.target.value)}
            />
            <Field.HelperText>
              {right === "manage"
                ? "They may also cancel it, run it again and lower its priority."
                : "They may read it, its log and its report."}
            </Field.HelperText>
          </Field.Root>
          <RightOf label="What they may do" right={right} onChange={setRight} mb="6" />
          <Button
            type="submit"
            colorPalette="brand"
            disabled={!wanted.length}
            loading={change.isPending}
            mb="6"
          >
            Share
          </Button>
        </HStack>
      </form>
      {change.error && (
        <Notice kind="error" title="This was not done">
          {change.error.message}
        </Notice>
      )}
      <Stack gap="1" as="ul" listStyleType="none" aria-label="Shared with">
        {users.map(({ user, right: has }) => (
          <HStack as="li" key={user}>
            <Text flex="1" minWidth="0" truncate title={user}>
              <bdi>{user}</bdi>
            </Text>
            <RightOf
              label={`What ${user} may do`}
              right={(asked.users?.includes(user) && asked.right) || has}
              disabled={change.isPending}
              onChange={(what) => void share([user], what).catch(() => undefined)}
            />
            <Button
              size="xs"
              variant="outline"
              aria-label={`Unshare with ${user}`}
              disabled={change.isPending}
              onClick={() => void unshare(user, has)}
            >
              Unshare
            </Button>
          </HStack>
        ))}
        {!users.length && (
          <Text as="li" color="fg.muted">
            Shared with nobody yet.
          </Text>
        )}
      </Stack>
    </Stack>
  );
}

function RightOf({
  label,
  right,
  onChange,
  disabled,
  mb,
}: {
  label: string;
  right: Right;
  disabled?: boolean;
  onChange: (right: Right) => void;
  mb?: string;
}) {
  return (
    <NativeSelect.Root size="sm" width="36" flexShrink="0" mb={mb} disabled={disabled}>
      <NativeSelect.Field
        aria-label={label}
        value={right}
        onChange={(event) => onChange(event.target.value as Right)}
      >
        <option value="read">can read</option>
        <option value="manage">can manage</option>
      </NativeSelect.Field>
      <NativeSelect.Indicator />
    </NativeSelect.Root>
  );
}
