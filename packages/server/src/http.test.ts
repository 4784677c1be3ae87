import { expect, test } from "vitest";
import { listen, processFiles, withinFiles } from "./http.ts";
import { defaultLimits } from "./limits.ts";

const within = (limit: number, open = 40): readonly [number, number] => {
  const { connections, connectionsPerAddress } = withinFiles(defaultLimits, { limit, open });
  return [connections, connectionsPerAddress];
};

test("connections take half of the files that a process has left, and one address half of them", () => {
  expect(within(200)).toEqual([64, 32]);
  expect(within(1024)).toEqual([476, 238]);
  expect(within(4096)).toEqual([1024, 512]);
  expect(within(64)).toEqual([8, 4]);
  expect(withinFiles(defaultLimits, undefined)).toBe(defaultLimits);
});

test.skipIf(process.platform === "win32")("the process says what it may open and what it has open", () => {
  const files = processFiles();
  expect(files?.limit).toBeGreaterThan(100);
  expect(files?.open).toBeGreaterThan(2);
  expect(files?.open).toBeLessThan(files?.limit ?? 0);
});

test("a request that fails is no mistake of the client", async () => {
  const fetch = async (): Promise<Response> => {
    throw new Error("no metrics");
  };
  await using server = await listen({ app: { fetch } }, { host: "127.0.0.1", port: 0 });
  const answer = await globalThis.fetch(server.address);
  expect([answer.status, await answer.text()]).toEqual([500, "internal error\n"]);
});
