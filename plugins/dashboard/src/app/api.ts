/** Calls of the REST API: at most three at a time, errors that people can read. */

import { serverSaid } from "../lib/clock";

const AT_ONCE = 3;
const TIMEOUT_MS = 30_000;
/** Bytes of a body that may outlive its page: browsers take 64 KiB of all such calls together. */
const MAX_KEPT_ALIVE = 65_536 / AT_ONCE - 1000;

/** What went wrong. status 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** After how many seconds to ask again, if the server said so. */
    readonly retryAfterS: number | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }

  get signedOut(): boolean {
    return this.status === 401;
  }

  /** No such thing, or not for this reader: the page says the same for both. */
  get hidden(): boolean {
    return this.status === 404 || this.status === 403;
  }

  /** It may work later without anybody doing anything. */
  get passing(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

let running = 0;
const waiting: (() => void)[] = [];

async function turn(): Promise<void> {
  if (running >= AT_ONCE) await new Promise<void>((go) => waiting.push(go));
  else running += 1;
}

function done(): void {
  const next = waiting.shift();
  if (next) next();
  else running -= 1;
}

async function problem(answer: Response): Promise<ApiError> {
  const after = Number(answer.headers.get("Retry-After"));
  const retry = Number.isFinite(after) && after > 0 ? after : null;
  try {
    const body = (await answer.json()) as { error?: { message?: string } };
    if (body.error?.message) return new ApiError(answer.status, body.error.message, retry);
  } catch {
    // Not ours: a proxy's page, say.
  }
  return new ApiError(answer.status, `The server answered ${answer.status}.`, retry);
}

export interface Call {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  body?: unknown;
  signal?: AbortSignal;
}

/** The JSON answer of an address. ApiError for everything else. */
export async function call<T>(
  url: string,
  { method = "GET", body, signal }: Call = {},
): Promise<T> {
  await turn();
  try {
    const limit = AbortSignal.timeout(TIMEOUT_MS);
    const sent = method === "GET" ? undefined : JSON.stringify(body ?? {});
    const answer = await fetch(url, {
      method,
      credentials: "same-origin",
      headers: {
        Accept: "application/json",
        ...(method === "GET" ? {} : { "Content-Type": "application/json" }),
      },
      body: sent,
      // Who closes the page now has asked for it none the less.
      keepalive: sent !== undefined && new Blob([sent]).size < MAX_KEPT_ALIVE,
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    }).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "The server does not answer.");
    });
    if (!answer.ok) throw await problem(answer);
    const asOf = Date.parse(answer.headers.get("Date") ?? "");
    if (Number.isFinite(asOf)) serverSaid(asOf + 500);
    if (answer.status === 204) return undefined as T;
    return (await answer.json()) as T;
  } finally {
    done();
  }
}

/** The text of an error for people. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
