/** Numbers and ids as people read them. */

/** Grouped by the reader's locale: "12,345". */
export function number(value: number, digits = 0): string {
  // Making a format takes far longer than using it.
  const format = (formats[digits] ??= new Intl.NumberFormat(undefined, {
    minimumFractionDigits: 0,
    maximumFractionDigits: digits,
  }));
  return format.format(value);
}

const formats: Record<number, Intl.NumberFormat> = {};

/** A bounded count: "1,000+" if there are more than were counted. */
export function bounded(count: { value: number; exact: boolean }): string {
  return count.exact ? number(count.value) : `${number(count.value)}+`;
}

/** A share (0 to 1) as "93 %"; never "100 %" or "0 %" for what is only nearly so. */
export function percent(share: number): string {
  const whole = Math.round(share * 100);
  if (whole === 100 && share < 1) return "> 99 %";
  if (whole === 0 && share > 0) return "< 1 %";
  return `${whole} %`;
}

/** "3.4 GB" and the like, in powers of 1000. */
export function bytes(value: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let size = value;
  let at = 0;
  while (size >= 999.5 && at < units.length - 1) {
    size /= 1000;
    at += 1;
  }
  return `${number(size, size < 10 && at > 0 ? 1 : 0)} ${units[at]}`;
}

/** CPU hours from milliseconds: "0.2 h", "134 h". */
export function hours(ms: number): string {
  const value = ms / 3_600_000;
  return value > 0 && value < 0.05 ? "< 0.1 h" : `${number(value, value < 10 ? 1 : 0)} h`;
}

/** The first 8 characters of an id. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** "1 job", "12 jobs". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

/** The name people know an app by. */
export function appName(job: {
  app_title?: string | null;
  app_id?: string | null;
  method?: string | null;
}): string {
  return job.app_title || job.app_id || job.method || "unknown app";
}
