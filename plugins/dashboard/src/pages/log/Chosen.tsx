import { Button, Flex, Text } from "@chakra-ui/react";
import { useState } from "react";

import { said } from "../../app/api";
import { number } from "../../lib/format";
import { plain } from "../../lib/ansi";
import { PAGE_LINES, type LogLine, type ReadLines } from "../../lib/logstore";
import { say } from "../../parts/toasts";

const MOST = 20_000;

/** What can be done with the chosen lines: copy them, with or without numbers, or their address. */
export function Chosen({
  range: [first, last],
  read,
  clear,
}: {
  range: readonly [number, number];
  read: ReadLines;
  clear: () => void;
}) {
  const [busy, setBusy] = useState(false);
  const count = last - first + 1;
  const put = async (make: () => Promise<string> | string, what: string) => {
    setBusy(true);
    try {
      await navigator.clipboard.writeText(await make());
      say({ kind: "success", title: `${what} copied`, duration: 2000 });
    } catch (problem) {
      say({ kind: "error", title: "Nothing was copied", description: said(problem) });
    } finally {
      setBusy(false);
    }
  };
  const lines = async () => {
    const found: LogLine[] = [];
    const { signal } = new AbortController();
    for (let from = first; from <= last;) {
      const answer = await read(from, Math.min(PAGE_LINES, last - from + 1), { signal });
      if (!answer.lines.length) break;
      found.push(...answer.lines);
      from = answer.next;
    }
    return found;
  };
  const many = count > MOST;
  return (
    <Flex gap="2" align="center" wrap="wrap" mb="2" fontSize="sm" data-testid="chosen">
      <Text>{count === 1 ? `Line ${first}` : `Lines ${first}–${last} (${number(count)})`}</Text>
      {many ? (
        <Text color="fg.muted">More than {number(MOST)} lines: download the log instead.</Text>
      ) : (
        <>
          <Button
            size="xs"
            variant="outline"
            loading={busy}
            onClick={() =>
              void put(
                async () => (await lines()).map((line) => plain(line.text)).join("\n"),
                "Lines",
              )
            }
          >
            Copy
          </Button>
          <Button
            size="xs"
            variant="outline"
            disabled={busy}
            onClick={() =>
              void put(
                async () =>
                  (await lines()).map((line) => `${line.n}\t${plain(line.text)}`).join("\n"),
                "Lines with numbers",
              )
            }
          >
            Copy with numbers
          </Button>
        </>
      )}
      <Button
        size="xs"
        variant="outline"
        disabled={busy}
        onClick={() => void put(() => location.href, "Link")}
      >
        Copy link
      </Button>
      <Button size="xs" variant="ghost" onClick={clear}>
        Clear
      </Button>
      <Text color="fg.muted" fontSize="xs" hideBelow="sm">
        Shift-click another number to choose a range.
      </Text>
    </Flex>
  );
}
