import { Button, Checkbox, CloseButton, Dialog, Skeleton, Stack, Text } from "@chakra-ui/react";
import { useState } from "react";

import { useGo } from "../../app/links";
import { useLive } from "../../app/live";
import type { JobList, JobPage } from "../../app/types";
import { shortId } from "../../lib/format";
import { query } from "../../lib/words";
import { StateBadge } from "../../parts/StateBadge";
import { Ago, Fixed } from "../../parts/times";
import { PartTrouble } from "./Facts";
import { Popup } from "../../parts/Popup";

const MOST = 3;

/** Chooses other runs of the same app to be put beside this one. */
export function CompareWith({
  job,
  open,
  onClose,
}: {
  job: JobPage;
  open: boolean;
  onClose: () => void;
}) {
  const go = useGo();
  const [chosen, setChosen] = useState<string[]>([]);
  const app = job.app?.app_id ?? job.app?.method ?? "";
  const live = useLive<JobList>(
    open
      ? `/jobs${query({ app, status: "completed,error,terminated", sort: "-finished", limit: 12 })}`
      : null,
  );
  const others = live.data?.items.filter((row) => row.id !== job.id && !row.is_batch).slice(0, 10);
  return (
    <Popup open={open} onClose={onClose} size="lg">
      <Dialog.Header>
        <Dialog.Title>Compare with other runs of this app</Dialog.Title>
      </Dialog.Header>
      <Dialog.Body>
        <PartTrouble live={live} what="The runs" />
        {!others && !live.error && <Skeleton height="40" />}
        {others?.length === 0 && <Text color="fg.muted">You have no other run of this app.</Text>}
        <Stack gap="2">
          {others?.map((row) => (
            <Checkbox.Root
              key={row.id}
              checked={chosen.includes(row.id)}
              disabled={!chosen.includes(row.id) && chosen.length >= MOST}
              onCheckedChange={({ checked }) =>
                setChosen((before) =>
                  checked === true ? [...before, row.id] : before.filter((one) => one !== row.id),
                )
              }
            >
              <Checkbox.HiddenInput />
              <Checkbox.Control />
              <Checkbox.Label display="flex" gap="3" flexWrap="wrap" alignItems="center">
                <Text as="span" fontFamily="mono">
                  {shortId(row.id)}
                </Text>
                <StateBadge state={row.status} />
                <Ago at={row.finished} />
                <Text as="span" color="fg.muted">
                  ran <Fixed ms={row.run_ms} />
                </Text>
              </Checkbox.Label>
            </Checkbox.Root>
          ))}
        </Stack>
      </Dialog.Body>
      <Dialog.Footer>
        <Button variant="outline" onClick={onClose}>
          Close
        </Button>
        <Button
          colorPalette="brand"
          disabled={!chosen.length}
          onClick={() => go(`/compare?ids=${[job.id, ...chosen].join(",")}`)}
        >
          Compare
        </Button>
      </Dialog.Footer>
      <Dialog.CloseTrigger asChild>
        <CloseButton size="sm" />
      </Dialog.CloseTrigger>
    </Popup>
  );
}
