import { QueryClientProvider } from "@tanstack/react-query";
import { renderHook } from "@testing-library/react";
import { afterEach, expect, test, vi } from "vitest";

import { HomeProvider } from "../src/app/home";
import { createClient, pause, useLive } from "../src/app/live";

const HOME = { kind: "alone", api: "/api/v1", root: "", airflow: null } as const;

afterEach(() => {
  vi.unstubAllGlobals();
});

test("a page that draws itself anew all the time still asks for what is new", async () => {
  const asked = vi.fn(() => Promise.resolve(Response.json({})));
  vi.stubGlobal("fetch", asked);
  const client = createClient();
  const { rerender, unmount } = renderHook(() => useLive("/status", { every: 100 }), {
    wrapper: ({ children }) => (
      <QueryClientProvider client={client}>
        <HomeProvider value={HOME}>{children}</HomeProvider>
      </QueryClientProvider>
    ),
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
