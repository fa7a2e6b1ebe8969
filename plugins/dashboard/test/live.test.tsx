import { QueryClientProvider } from "@tanstack/react-query";
import { act, renderHook } from "@testing-library/react";
import type { ReactNode } from "react";
import { afterEach, expect, test, vi } from "vitest";

import { call } from "../src/app/api";
import { HomeProvider } from "../src/app/home";
import { createClient, pause, useChange, useLive } from "../src/app/live";

const HOME = { kind: "alone", api: "/api/v1", root: "", airflow: null } as const;

afterEach(() => {
  vi.unstubAllGlobals();
});

function within() {
  const client = createClient();
  return function Within({ children }: { children: ReactNode }) {
    return (
      <QueryClientProvider client={client}>
        <HomeProvider value={HOME}>{children}</HomeProvider>
      </QueryClientProvider>
    );
  };
}

test("a page that draws itself anew all the time still asks for what is new", async () => {
  const asked = vi.fn(() => Promise.resolve(Response.json({})));
  vi.stubGlobal("fetch", asked);
  const { rerender, unmount } = renderHook(() => useLive("/status", { every: 100 }), {
    wrapper: within(),
  });
  for (let drawn = 0; drawn < 50; drawn += 1) {
    await new Promise((done) => setTimeout(done, 10));
    rerender();
  }
  unmount();
  expect(asked.mock.calls.length).toBeGreaterThan(3);
});

test("pauses double with each failure, up to a minute, and never undercut what the server says", () => {
  const jitter = pause(1000, 0, null) / 1000;
  expect(jitter).toBeGreaterThanOrEqual(0.9);
  expect(jitter).toBeLessThanOrEqual(1.1);
  expect(pause(1000, 1, null) / jitter).toBeCloseTo(6000);
  expect(pause(1000, 2, null) / jitter).toBeCloseTo(12_000);
  expect(pause(1000, 20, null) / jitter).toBeCloseTo(60_000);
  expect(pause(1000, 1, 90) / jitter).toBeCloseTo(90_000);
});

test("changes are sent one after the other", async () => {
  const answers: ((answer: Response) => void)[] = [];
  const sent: string[] = [];
  vi.stubGlobal("fetch", (url: string) => {
    sent.push(url);
    return new Promise<Response>((answer) => answers.push(answer));
  });
  const { result, unmount } = renderHook(() => useChange(), { wrapper: within() });
  act(() => {
    result.current.mutate({ path: "/first" });
    result.current.mutate({ path: "/second" });
  });
  await vi.waitFor(() => expect(answers.length).toBe(1));
  await new Promise((done) => setTimeout(done, 20));
  expect(sent).toEqual(["/api/v1/first"]);
  await act(async () => {
    answers[0]?.(Response.json({}));
    await vi.waitFor(() => expect(sent).toEqual(["/api/v1/first", "/api/v1/second"]));
    answers[1]?.(Response.json({}));
  });
  unmount();
});

test("a change outlives its page, unless it is too large for browsers to promise that", async () => {
  const asked = vi.fn<typeof fetch>(() => Promise.resolve(Response.json({})));
  vi.stubGlobal("fetch", asked);
  await call("/api/v1/tags", { method: "PUT", body: { star: true } });
  await call("/api/v1/tags", { method: "PUT", body: { label: "\u00e9".repeat(15_000) } });
  await call("/api/v1/tags");
  expect(asked.mock.calls.map(([, init]) => init?.keepalive)).toEqual([true, false, false]);
});
