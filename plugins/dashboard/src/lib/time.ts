/** Times as people read them. All functions take and give milliseconds. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "820 ms", "12 s", "4 m 05 s", "1 h 04 m", "3 d 02 h"; nothing below zero. */
export function duration(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < SECOND) return whole === 0 ? "0 s" : `${Math.round(whole)} ms`;
  const s = Math.floor(whole / SECOND);
  if (s < 60) return `${s} s`;
  const two = (n: number) => String(n).padStart(2, "0");
  if (s < 3600) return `${Math.floor(s / 60)} m ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} m`;
  return `${Math.floor(s / 86400)} d ${two(Math.floor((s % 86400) / 3600))} h`;
}

/** "now", "12 s ago", "4 min ago", "3 h ago", "yesterday", "5 d ago"; the future: "in 4 min". */
export function relative(at: number, now: number): string {
  const apart = Math.abs(now - at);
  const said =
    apart < 5 * SECOND
      ? null
      : apart < MINUTE
        ? `${Math.floor(apart / SECOND)} s`
        : apart < HOUR
          ? `${Math.floor(apart / MINUTE)} min`
          : apart < DAY
            ? `${Math.floor(apart / HOUR)} h`
            : apart < 60 * DAY
              ? `${Math.floor(apart / DAY)} d`
              : apart < 730 * DAY
                ? `${Math.floor(apart / (30.4 * DAY))} months`
                : `${Math.floor(apart / (365.25 * DAY))} years`;
  if (said === null) return "now";
  return at <= now ? `${said} ago` : `in ${said}`;
}

/** A range of times to come, as an honest "between": "in 4–9 min"; see `relative`. */
export function expected(from: number, to: number, now: number): string {
  const near = Math.max(0, from - now);
  const far = Math.max(near, to - now);
  if (far < 5 * SECOND) return "any moment";
  const unit = far < 2 * MINUTE ? SECOND : far < 2 * HOUR ? MINUTE : far < 2 * DAY ? HOUR : DAY;
  const name = { [SECOND]: "s", [MINUTE]: "min", [HOUR]: "h", [DAY]: "d" }[unit] ?? "s";
  const low = Math.floor(near / unit);
  const high = Math.ceil(far / unit);
  return low === high ? `in about ${high} ${name}` : `in ${low}–${high} ${name}`;
}

/** Making a format takes far longer than using it: one of each kind and zone. */
const formats = new Map<string, Intl.DateTimeFormat>();

function format(
  kind: string,
  zone: string,
  options: Intl.DateTimeFormatOptions,
): Intl.DateTimeFormat {
  const key = `${kind} ${zone}`;
  const kept = formats.get(key);
  if (kept) return kept;
  const made = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
  formats.set(key, made);
  return made;
}

/** The zone's short name at a time, such as "CET" or "UTC". */
export function zoneName(at: number, zone: string): string {
  const parts = format("zone", zone, { timeZoneName: "short" });
  return parts.formatToParts(at).find((part) => part.type === "timeZoneName")?.value ?? zone;
}

function fields(at: number, zone: string): Record<string, string> {
  const whole = format("whole", zone, {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });
  return Object.fromEntries(whole.formatToParts(at).map((part) => [part.type, part.value]));
}

/** "2026-11-23 14:02:11" in a zone. */
export function exact(at: number, zone: string): string {
  const f = fields(at, zone);
  return `${f.year}-${f.month}-${f.day} ${f.hour}:${f.minute}:${f.second}`;
}

/** "2026-11-23 14:02:11 CET". */
export function exactWithZone(at: number, zone: string): string {
  return `${exact(at, zone)} ${zoneName(at, zone)}`;
}

/** "14:02:11" in a zone. */
export function clock(at: number, zone: string): string {
  return exact(at, zone).slice(11);
}

/** "2026-11-23" in a zone. */
export function day(at: number, zone: string): string {
  return exact(at, zone).slice(0, 10);
}

/** The browser's own zone. */
export function localZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}

/** Whether the browser knows a zone of this name. */
export function isZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
