/** Addresses that came from outside. */

/** An address to go to, if it is http(s) or a path of this host; null for all others
 * ("javascript:", "data:", "//elsewhere"). */
export function safeHref(address: string | null | undefined): string | null {
  if (!address) return null;
  if (/^\/(?![/\\])/.test(address)) return address;
  try {
    const { protocol, href } = new URL(address);
    return protocol === "https:" || protocol === "http:" ? href : null;
  } catch {
    return null;
  }
}

/** The address of a file that a job has made, below the API that this reader is signed in to. */
export function artifactHref(api: string, address: string | null): string | null {
  const found = /\/artifacts\/(.+)$/.exec(address ?? "");
  if (!found) return safeHref(address);
  return `${api.replace(/\/api\/v1$/, "")}/artifacts/${found[1]}`;
}
