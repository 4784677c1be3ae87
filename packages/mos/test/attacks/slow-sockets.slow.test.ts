// Clients that hold connections: as many as a server accepts, each sending a byte now and then, whatever it is told.
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:http";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startChild } from "mixture-of-shards-core/process";
import { expect, test } from "vitest";
import { defaultLimits } from "../../../server/src/limits.ts";
import { serveCommand, startServer } from "../../../server/test/harness.ts";
import type { AttackMethods } from "./slow-sockets-process.ts";

const HEAD =
  "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n";
const SECONDS = 15;
/** Connections that take the place of dropped ones, every half second. */
const AGAIN = 100;

/** Asks on a connection of its own. */
const health = (port: number): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    get({ port, host: "127.0.0.1", path: "/health", agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", reject);
  });

test.each([
  ["headers", "GET /health HTTP/1.1\r\nx: "],
  ["bodies", `${HEAD}\r\n{`],
])("%s that never end keep nobody out", async (_, start) => {
  await using server = await startServer();
  // a process of its own: what it costs to open and hold them is not the server's
  const attacker = startChild<AttackMethods>(join(import.meta.dirname, "slow-sockets-process.ts"), {
    exitError: Error,
  });
  let slowest = 0;
  let answers = 0;
  try {
    await attacker.call("attack", {
      port: server.port,
      start,
      connections: defaultLimits.connections,
      again: AGAIN,
    });
    const ends = performance.now() + SECONDS * 1000;
    while (performance.now() < ends) {
      const asked = performance.now();
      expect(await health(server.port)).toBe(200);
      slowest = Math.max(slowest, performance.now() - asked);
      answers++;
      await sleep(500);
    }
    expect(attacker.isAlive).toBe(true);
  } finally {
    attacker.kill();
  }
  expect(answers).toBeGreaterThan(5);
  expect(slowest).toBeLessThan(2000);
  await expect.poll(() => server.engine.running).toBe(0);
});

test("a request that is told that it came too late is closed, though its client goes on sending", async () => {
  await using server = await startServer({ server: { limits: { headerSeconds: 1 } } });
  const socket = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
  socket.on("error", () => undefined);
  socket.write("GET /health HTTP/1.1\r\nx: ");
  socket.resume();
  const timer = setInterval(() => socket.write("x"), 300);
  const closed = new Promise<boolean>((resolve) => socket.once("close", () => resolve(true)));
  expect(await Promise.race([closed, sleep(8000, false)])).toBe(true);
  clearInterval(timer);
});

test("a process that may open 200 files is held by no slow client, and has files left to work with", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-few-files-"));
  const options = ["--model", "assets/tiny-english", "--state", join(folder, "state"), "--workers", "0"];
  const { child, said, ready } = await serveCommand(options, { files: 200 });
  const { address } = ready as { readonly address: string };
  const port = Number(new URL(address).port);
  const sockets = new Set<Socket>();
  try {
    for (let i = 0; i < 400; i++) {
      const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.write(`${HEAD}\r\n{`);
      socket.resume();
    }
    await sleep(500);
    for (let i = 0; i < 5; i++) {
      expect(await health(port)).toBe(200);
      const body = JSON.stringify({ model: "tiny-english", prompt: "One", max_tokens: 1 });
      const headers = { "content-type": "application/json", connection: "close" };
      const answer = await fetch(`${address}/v1/completions`, { method: "POST", headers, body });
      expect(answer.status).toBe(200);
      const form = new FormData();
      form.append("purpose", "fine-tune");
      form.append("file", new Blob([`{"prompt":"a","completion":" ${i}"}\n`]), "a.jsonl");
      const init = { method: "POST", headers: { connection: "close" }, body: form };
      const uploaded = await fetch(`${address}/v1/files`, init);
      expect([uploaded.status, ((await uploaded.json()) as { status: string }).status]).toEqual([
        200,
        "processed",
      ]);
    }
    expect(said.log).toMatch(/"connections":\d+,"msg":"the limit of open files is low/);
    expect(said.log).not.toContain("EMFILE");
  } finally {
    for (const socket of sockets) socket.destroy();
    child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
});
