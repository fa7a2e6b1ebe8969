import { useNow } from "../lib/clock";
import type { Row } from "../app/types";
import { look } from "../lib/states";

const LATE_MS = 60_000;

/** Of a job that was asked to be cancelled: that it has not happened after a minute. */
export function Asked({ at, row }: { at: number; row: Pick<Row, "status" | "node"> }) {
  const now = useNow();
  if (now - at < LATE_MS) return <span className="quiet">asked to end</span>;
  const s = Math.floor((now - at) / 1000);
  const ago = s < 120 ? `${s} s` : `${Math.floor(s / 60)} min`;
  const state = look(row.status).word.toLowerCase();
  const where = row.node ? ` on ${row.node}` : "";
  const text = `asked ${ago} ago, still ${state}${where}`;
  return (
    <span className="cut warned" title={text}>
      {text}
    </span>
  );
}
