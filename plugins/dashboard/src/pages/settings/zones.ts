/** Time zones to choose from, and times as a form has them. */

import { exact, localZone } from "../../lib/time";

const DAY_MS = 86_400_000;

/** All zones that the browser knows, by name; UTC first. chosen: is among them in any case, since
 * browsers differ in the names (Asia/Kolkata, Asia/Calcutta), but not in the zones they can tell. */
export function zoneNames(chosen: string): string[] {
  const known =
    typeof Intl.supportedValuesOf === "function" ? Intl.supportedValuesOf("timeZone") : [];
  const others = new Set([...known, ...(["local", "host"].includes(chosen) ? [] : [chosen])]);
  others.delete("UTC");
  return ["UTC", ...[...others].sort()];
}

/** The time that "2026-11-23T14:02" means in a zone, ms. In the hour that a clock passes twice it
 * is the first; in the one that it leaves out, the hour after. NaN for what is no time. */
export function atOf(value: string, zone: string): number {
  const asUtc = Date.parse(`${value.replace(" ", "T")}Z`);
  if (!Number.isFinite(asUtc)) return NaN;
  const offset = (at: number) => Date.parse(`${exact(at, zone).replace(" ", "T")}Z`) - at;
  // With the zone's offsets of the day before and the day after.
  const found = [asUtc - offset(asUtc - DAY_MS), asUtc - offset(asUtc + DAY_MS)];
  const fitting = found.filter((at) => at + offset(at) === asUtc);
  return fitting.length ? Math.min(...fitting) : Math.max(...found);
}

/** "Europe/Berlin (local)" and the like. */
export function zoneLabel(name: string): string {
  return name === "local" ? `Local: ${localZone()}` : name.replaceAll("_", " ");
}
