// Slow and silent clients, and large uploads: each test takes seconds.
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { writeSafetensors } from "mixture-of-shards-core/files";
import { expect, test } from "vitest";
import type { KeyRing } from "../src/index.ts";
import { sendBytes, startServer } from "./harness.ts";

test("half-open connections and requests that trickle in are dropped", async () => {
  await using server = await startServer({ server: { limits: { headerSeconds: 1, requestSeconds: 2 } } });
  const head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
  const [headers, body] = await Promise.all([
    sendBytes(server.port, ["GET /health HTTP/1.1\r\nhost:"], 5000),
    sendBytes(server.port, [`${head}content-length: 100\r\n\r\n{`], 8000),
  ]);
  expect(headers).toMatch(/^HTTP\/1\.1 408 /);
  expect(body).toMatch(/^(HTTP\/1\.1 408 |$)/);
  expect((await server.send("/v1/completions", { model: "base", prompt: "x" })).status).toBe(200);
  await expect.poll(() => server.engine.running).toBe(0);
});

test("a client that does not read its answer is dropped, and its request cancelled", async () => {
  await using server = await startServer({
    engine: { answer: " one two".repeat(100), maxLength: 1_000_000, adapters: ["x"] },
    server: { limits: { stalledSeconds: 1, choices: 128 } },
  });
  const body = JSON.stringify({
    model: "base",
    prompt: Array.from({ length: 64 }, () => "one two ".repeat(400)),
    max_tokens: 200,
    stream: true,
    echo: true,
    logprobs: 5,
  });
  const socket: Socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.pause();
  socket.write(
    `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await expect.poll(() => server.engine.running).toBeGreaterThan(0);
  await expect
    .poll(() => server.log.find(({ message }) => message === "request")?.fields["status"], { timeout: 8000 })
    .toBe(499);
  await expect.poll(() => server.engine.running).toBe(0);
  socket.destroy();
});

test("an incomplete request does not keep the server from stopping", async () => {
  const server = await startServer();
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(
    "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
  );
  await sleep(200);
  const started = performance.now();
  await server.close(0.2);
  expect(performance.now() - started).toBeLessThan(6000);
  socket.destroy();
});

test("megabytes of tensors arrive unchanged in any part of the form, and other requests are answered meanwhile", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-upload-"));
  const path = join(folder, "large.safetensors");
  const data = Float32Array.from({ length: 12_500_000 }, (_, i) => i);
  await writeSafetensors(path, { a: { dtype: "F32", shape: [data.length], data } });
  const tensors = await readFile(path);
  tensors.write("\r\n\r\n--x\r\n", 1000);
  const adapters = join(folder, "adapters");
  await mkdir(adapters);
  const keys: KeyRing = { find: async () => ({ name: "admin", isAdmin: true, mayUse: () => true }) };
  await using server = await startServer({
    engine: { look: () => readdir(adapters) },
    server: { keys, adapterFolder: adapters },
  });
  const headers = { authorization: "Bearer x" };
  const model = new Blob([tensors]);
  for (const order of [
    ["name", "adapter_config", "adapter_model"],
    ["adapter_model", "adapter_config", "name"],
  ]) {
    const form = new FormData();
    for (const part of order)
      form.append(part, part === "name" ? "large" : part === "adapter_config" ? "{}" : model);
    let isDone = false;
    const sent = server.fetch("/v1/adapters", { method: "POST", body: form, headers }).finally(() => {
      isDone = true;
    });
    let answered = 0;
    for (; !isDone; answered++) expect((await server.send("/health")).status).toBe(200);
    expect((await sent).status).toBe(201);
    expect(answered).toBeGreaterThan(10);
    const kept = await readFile(join(adapters, "large", "adapter_model.safetensors"));
    expect(kept.equals(tensors)).toBe(true);
    await rm(join(adapters, "large"), { recursive: true });
  }
  await rm(folder, { recursive: true });
});
