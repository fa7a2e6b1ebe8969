/** Ceilings on sizes: of everybody, and of single users. */

import { Button, HStack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useLive } from "../../app/live";
import type { Answer } from "../../app/types";
import { fieldOf, whole } from "../../lib/fields";
import { number } from "../../lib/format";
import { FormField } from "../../parts/FormField";
import { Trouble } from "../../parts/Freshness";
import { Rows, type Column } from "../../parts/Rows";
import { Section } from "../../parts/Section";
import { Ago } from "../../parts/times";
import { NotSaved } from "./Conflict";
import { LimitForm, NoteAndReason, useLimitChange } from "./LimitForm";
import { ANY, SIZES } from "./limits";
import { PreviewBox } from "./PreviewBox";
import { usePreview } from "./usePreview";

type Size = Answer<"Size">;
type Figures = Size["figures"];

const COLUMNS: Column<Size>[] = [
  {
    name: "For",
    cell: (one) => (one.user === ANY ? "everybody" : <bdi>{one.user}</bdi>),
  },
  ...SIZES.map(({ key, name }) => ({
    name,
    numeric: true,
    cell: (one: Size) => {
      const value = one.figures[key];
      return value == null ? "–" : number(value);
    },
  })),
  { name: "Note", cell: (one) => <bdi>{one.note ?? "–"}</bdi> },
  {
    name: "Set by",
    cell: (one) => (
      <>
        <bdi>{one.set_by}</bdi>, <Ago at={one.set_at} />
      </>
    ),
  },
];

/** The section of ceilings. may: the reader may change them. */
export function Sizes({ may }: { may: boolean }) {
  const live = useLive<Answer<"Sizes">>("/limits/sizes", { every: 60_000 });
  const [open, setOpen] = useState<string | null>(null);
  const close = () => setOpen(null);
  const sizes = live.data?.sizes ?? [];
  const columns: Column<Size>[] = may
    ? [
        ...COLUMNS,
        {
          name: "Change",
          quiet: true,
          width: "1%",
          cell: (one) => (
            <Button
              size="xs"
              variant="outline"
              aria-label={`Change the ceilings of ${one.user === ANY ? "everybody" : one.user}`}
              aria-expanded={open === one.user}
              onClick={() => setOpen(open === one.user ? null : one.user)}
            >
              Change
            </Button>
          ),
        },
      ]
    : COLUMNS;
  return (
    <Section
      id="sizes"
      title="Ceilings on sizes"
      aside={
        may && (
          <HStack gap="2">
            {live.data && !sizes.some(({ user }) => user === ANY) && (
              <Button size="sm" variant="outline" onClick={() => setOpen(ANY)}>
                Set ceilings for everybody
              </Button>
            )}
            <Button size="sm" variant="outline" onClick={() => setOpen("")}>
              Other ceilings for a user
            </Button>
          </HStack>
        )
      }
    >
      <Trouble live={live} />
      {open === "" && <SizeForm user={null} size={null} onDone={close} />}
      {open === ANY && !sizes.some(({ user }) => user === ANY) && (
        <SizeForm user={ANY} size={null} onDone={close} />
      )}
      {sizes.length ? (
        <Rows
          label="Ceilings on sizes"
          columns={columns}
          rows={sizes}
          keyOf={(one) => one.user}
          below={(one) =>
            open === one.user && <SizeForm user={one.user} size={one} onDone={close} />
          }
        />
      ) : (
        live.data && <Text color="fg.muted">None is set: a job may be as large as a machine.</Text>
      )}
    </Section>
  );
}

const FIELDS = [...SIZES.map(({ key }) => key), "user", "note", "reason"] as const;

function SizeForm({
  user,
  size,
  onDone,
}: {
  user: string | null;
  size: Size | null;
  onDone: () => void;
}) {
  const [seen, setSeen] = useState(size);
  const [name, setName] = useState(user ?? "");
  const [typed, setTyped] = useState(() => asTyped(size?.figures));
  const [note, setNote] = useState(size?.note ?? "");
  const [reason, setReason] = useState("");
  const { change, save } = useLimitChange(onDone);
  const target = (user ?? name).trim();
  const figures: Figures = Object.fromEntries(SIZES.map(({ key }) => [key, whole(typed[key])]));
  const badKey = SIZES.find(({ key }) => Number.isNaN(figures[key]))?.key;
  const ready = target !== "" && badKey === undefined;
  const negative = SIZES.some(({ key }) => (figures[key] ?? 0) < 0);
  const preview = usePreview(
    ready && !negative ? { kind: "size", user: target, app: ANY, figures } : null,
  );
  const wrong = change.error?.status === 400 ? change.error.message : null;
  const place = wrong === null ? null : fieldOf(wrong.replace(/^figures\W+/, ""), FIELDS);
  const at = (field: string) => (place === field ? wrong : null);
  const send = (remove: boolean) =>
    void save(
      `/limits/sizes/${encodeURIComponent(target)}`,
      remove ? null : { figures, note: note.trim() || null },
      { reason, revision: seen?.revision ?? 0 },
      remove ? "Ceilings taken away" : "Ceilings set",
    );
  const takeNewest = () => {
    setSeen(size);
    setTyped(asTyped(size?.figures));
    setNote(size?.note ?? "");
    change.reset();
  };
  return (
    <LimitForm
      label="Ceilings on sizes"
      fields={
        <>
          {user === null && (
            <FormField
              label="User"
              required
              width="40"
              value={name}
              onValue={setName}
              error={at("user")}
            />
          )}
          {SIZES.map(({ key, name: label }) => (
            <FormField
              key={key}
              label={label}
              inputMode="numeric"
              width="40"
              value={typed[key]}
              onValue={(value) => setTyped((all) => ({ ...all, [key]: value }))}
              error={badKey === key ? "Give a whole number" : at(key)}
              help="empty: none"
            />
          ))}
          <NoteAndReason
            note={note}
            onNote={setNote}
            reason={reason}
            onReason={setReason}
            at={at}
          />
        </>
      }
      verb="Save ceilings"
      ready={ready}
      busy={change.isPending}
      takeAway={seen && "Take all of them away"}
      onSave={() => send(false)}
      onTakeAway={() => send(true)}
      onLeave={onDone}
    >
      {ready && !negative && <PreviewBox preview={preview} />}
      {change.error && (place === null || (place === "user" && user !== null)) && (
        <NotSaved error={change.error} onNewest={user === null ? undefined : takeNewest} />
      )}
    </LimitForm>
  );
}

function asTyped(figures: Figures | undefined): Record<(typeof SIZES)[number]["key"], string> {
  const said = (value: number | null | undefined) => (value == null ? "" : String(value));
  return {
    cpus: said(figures?.cpus),
    memory_mb: said(figures?.memory_mb),
    disk_gb: said(figures?.disk_gb),
    children: said(figures?.children),
    waiting: said(figures?.waiting),
  };
}
