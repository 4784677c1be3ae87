// The state of the server as an administrator sees it, and what of it a tenant sees.
import type { Locator } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type StudioServer, startServer } from "./server.ts";
import { keyFor, openStudio } from "./studio.ts";

let server: StudioServer;
beforeAll(async () => {
  server = await startServer({ keys: true, state: true });
  await Promise.all(["acme", "globex"].map((tenant) => complete(tenant, 8)));
});
afterAll(() => server[Symbol.asyncDispose]());

/** What a person reads of a part of the page. */
// biome-ignore lint/performance/useDomNodeTextContent: what is hidden does not count
const read = (part: Locator): Promise<string> => part.innerText();

async function complete(tenant: string, maxTokens: number, signal?: AbortSignal): Promise<void> {
  const answer = await fetch(`${server.address}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${keyFor(tenant)}` },
    body: JSON.stringify({
      model: "tiny-english",
      prompt: "The cat sat",
      max_tokens: maxTokens,
      ignore_eos: true,
      n: 3,
    }),
    signal: signal ?? null,
  });
  expect(answer.status).toBe(200);
}

test("an administrator sees the batch as it runs, memory, workers, and usage by key", async () => {
  await using studio = await openStudio({ server, as: "admin", at: "/system" });
  await studio.see("No active requests");
  await studio.see("of 16 slots");
  const batch = studio.page.getByRole("region", { name: "Batch" });
  const ending = new AbortController();
  const running = (async () => {
    while (!ending.signal.aborted) await complete("acme", 200, ending.signal);
  })().catch(() => undefined);
  await expect.poll(() => read(batch), { timeout: 30_000 }).toMatch(/^Batch\s+3 of 16 slots/);
  expect(await read(batch)).toMatch(/tiny-english 3/);
  const answers = studio.page.getByRole("region", { name: "Throughput" });
  await expect.poll(() => read(answers), { timeout: 30_000 }).not.toMatch(/0\.0\/s/);
  ending.abort();
  await running;
  await studio.see("No active requests");

  await studio.see("engine process");
  await expect
    .poll(() => studio.page.getByRole("meter", { name: "Keys and values" }).getAttribute("aria-valuenow"))
    .not.toBe("0");
  const workers = studio.page.getByRole("grid", { name: "Workers" });
  await expect.poll(() => read(workers)).toMatch(/idle[\s\S]*tiny-english/);

  // written down every five seconds
  const usage = studio.page.getByRole("grid", { name: "Usage" });
  await expect.poll(() => read(usage), { timeout: 30_000 }).toMatch(/acme[\s\S]*globex|globex[\s\S]*acme/);
  await studio.choose("Period", "24 hours, by hour");
  await studio.choose("Grouping", "By key and model");
  await expect.poll(() => read(usage), { timeout: 30_000 }).toMatch(/globex\s+tiny-english/);
});

test("a tenant sees its own usage alone, and why", async () => {
  await using studio = await openStudio({ server, as: "acme", at: "/system" });
  await studio.see("acme can see only its own usage");
  const usage = studio.page.getByRole("grid", { name: "Usage" });
  await expect.poll(() => read(usage), { timeout: 30_000 }).toMatch(/acme/);
  expect(await studio.text()).not.toMatch(/globex|slots|Workers/);
});
