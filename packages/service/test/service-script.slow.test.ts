// npm run service: where it says that the server listens.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-service-script-"));
});
afterAll(() => rm(folder, { recursive: true }));

test.each([
  ["--port 8099", "true", ["8099"]],
  ["--port=8099", "8099", []],
])("says what to type where npm has taken %s for itself", (_, port, rest) => {
  const { status, stderr } = spawnSync(process.execPath, ["--import", "tsx", "scripts/service.ts", ...rest], {
    env: { ...process.env, npm_config_port: port },
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([2, expect.stringContaining("type npm run service -- --port 8099")]);
});

test("npm run service names the address at which it listens", async () => {
  const options = ["--port", "0", "--state", join(folder, "state"), "--threads", "1"];
  const child = spawn(process.execPath, ["--import", "tsx", "scripts/service.ts", ...options], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "exit");
  try {
    let address: string | undefined;
    for await (const line of createInterface(child.stderr)) {
      address = /OPENAI_BASE_URL=(\S+)/.exec(line)?.[1];
      if (address !== undefined) break;
    }
    expect(address).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v1$/);
    expect(await (await fetch(`${address}/models`)).json()).toMatchObject({ data: [{ id: "tiny" }] });
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}, 120_000);
