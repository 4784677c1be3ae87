// HTTPS. The certificates are for localhost and 127.0.0.1, and of one key:
// openssl ecparam -name prime256v1 -genkey -noout -out key.pem
// openssl req -x509 -new -key key.pem -days 36500 -subj /CN=first -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -out first.pem
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { Agent, request } from "node:https";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type TLSSocket } from "node:tls";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createServer, listen, openCertificate, type TlsOptions } from "../src/index.ts";
import { fakeEngine } from "./fake-engine.ts";
import { sendBytes } from "./harness.ts";

const FOLDER = "test/fixtures/tls";
let folder = "";
let ca: Buffer[] = [];
/** What a test's servers have logged. */
let said: string[];
let log: TlsOptions["log"];
const options = (more: Partial<TlsOptions> = {}): TlsOptions => ({
  certFile: join(folder, "cert.pem"),
  keyFile: join(FOLDER, "key.pem"),
  date: Date.now,
  log,
  ...more,
});

beforeEach(async () => {
  const own: string[] = [];
  const write = (_: object, message: string) => void own.push(message);
  [said, log] = [own, { info: write, warn: write, error: write }];
  folder = await mkdtemp(join(tmpdir(), "mos-tls-"));
  await copyFile(join(FOLDER, "first.pem"), join(folder, "cert.pem"));
  ca = await Promise.all(["first.pem", "second.pem"].map((name) => readFile(join(FOLDER, name))));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function startHttps({ checkEvery = 50, limits = {} } = {}) {
  const engine = fakeEngine({ text: await loadTextFromFolder("assets/tiny-english") });
  const parts = { engine, modelName: "base", log, now: Date.now, limits, nextSeed: () => 1 };
  const tls = await openCertificate(options({ checkEvery }));
  const listening = await listen(createServer(parts), { host: "127.0.0.1", port: 0, tls });
  return { engine, ...listening, [Symbol.asyncDispose]: () => listening.close({ drainSeconds: 0.2 }) };
}

async function send(address: string, path: string, body?: object) {
  const agent = new Agent({ ca });
  const asked = request(new URL(path, address), {
    agent,
    method: body === undefined ? "GET" : "POST",
    headers: { "content-type": "application/json" },
  });
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = await once(asked, "response");
  const name = (response.socket as TLSSocket).getPeerCertificate().subject.CN;
  return { status: response.statusCode, text: await text(response), name, agent };
}

test("answers over HTTPS, whole and streamed, and closes when running requests have ended", async () => {
  const server = await startHttps();
  server.engine.hold(1);
  expect(server.address).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(await send(server.address, "/health")).toMatchObject({ status: 200, name: "first" });
  const asked = { model: "base", prompt: "x" };
  const whole = send(server.address, "/v1/completions", asked);
  const streamed = send(server.address, "/v1/completions", { ...asked, stream: true });
  await expect.poll(() => server.engine.running).toBe(2);
  const closed = server.close({ drainSeconds: 3600 });
  server.engine.release();
  await closed;
  expect(await whole).toMatchObject({ status: 200 });
  expect((await streamed).text).toContain("[DONE]");
});

test("a client without TLS is dropped", async () => {
  await using server = await startHttps();
  expect(await sendBytes(server.port, ["GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"])).not.toContain(
    "HTTP/1.1 200",
  );
  expect(await send(server.address, "/health")).toMatchObject({ status: 200 });
});

test("connections are limited with TLS, too: a new one takes the place of the oldest that waits, with or without a handshake", async () => {
  await using server = await startHttps({ limits: { connections: 3 } });
  const { port } = server;
  const plain = connectPlain(port, "127.0.0.1");
  const idle = Array.from({ length: 2 }, () => connect({ port, host: "127.0.0.1", ca }));
  const closed = [plain, ...idle].map((socket) =>
    once(
      socket.on("error", () => undefined),
      "close",
    ),
  );
  await Promise.all(idle.map((socket) => once(socket, "secureConnect")));
  expect(await send(server.address, "/health")).toMatchObject({ status: 200 });
  expect(await send(server.address, "/health")).toMatchObject({ status: 200 });
  await Promise.race(closed);
  for (const socket of [plain, ...idle]) socket.destroy();
});

test("broken HTTP inside of TLS is answered", async () => {
  await using server = await startHttps();
  const socket = connect({ port: server.port, host: "127.0.0.1", ca });
  socket.write("NOT HTTP\r\n\r\n");
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 Bad Request[\s\S]*invalid HTTP/);
});

test("a renewed certificate is used without a restart; one that does not fit its key is not", async () => {
  await using server = await startHttps();
  await writeFile(join(folder, "cert.pem"), "half a cert");
  await expect.poll(() => said.at(-1)).toBe("the TLS certificate cannot be read; keeping the previous one");
  expect(await send(server.address, "/health")).toMatchObject({ name: "first" });
  await copyFile(join(FOLDER, "second.pem"), join(folder, "cert.pem"));
  await expect.poll(() => said.at(-1)).toBe("reloaded the TLS certificate");
  expect(await send(server.address, "/health")).toMatchObject({ name: "second" });
});

test("what is wrong is said once, and a pair that becomes readable without a change of its times is used", async () => {
  const cert = join(folder, "cert.pem");
  await using server = await startHttps({ checkEvery: 20 });
  await rm(cert);
  await expect.poll(() => said.length).toBe(1);
  await sleep(100);
  expect(said).toEqual(["the TLS certificate cannot be read; keeping the previous one"]);
  await copyFile(join(FOLDER, "second.pem"), cert);
  const { atime, mtime } = await stat(cert);
  await expect.poll(() => said.at(-1)).toBe("reloaded the TLS certificate");
  expect(await send(server.address, "/health")).toMatchObject({ name: "second" });
  // as large, and as old by its time
  await copyFile(join(FOLDER, "first.pem"), cert);
  await utimes(cert, atime, mtime);
  await expect.poll(async () => (await send(server.address, "/health")).name).toBe("first");
});

test("a certificate of a port that cannot be opened is not watched", async () => {
  await using server = await startHttps();
  let watched = 0;
  const tls = await openCertificate(options());
  const watch = (on: Parameters<typeof tls.watch>[0]) => {
    watched++;
    return tls.watch(on);
  };
  const engine = fakeEngine({ text: await loadTextFromFolder("assets/tiny-english") });
  const parts = createServer({ engine, modelName: "base", log, now: Date.now, nextSeed: () => 1 });
  const taken = { host: "127.0.0.1", port: server.port, tls: { ...tls, watch } };
  await expect(listen(parts, taken)).rejects.toThrow("the port is in use");
  expect(watched).toBe(0);
});

test("files that cannot be used are refused at the start, by name", async () => {
  const other = join(folder, "other.pem");
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  await writeFile(other, privateKey.export({ type: "pkcs8", format: "pem" }));
  const locked = join(folder, "locked.pem");
  const key = createPrivateKey(await readFile(join(FOLDER, "key.pem")));
  await writeFile(
    locked,
    key.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" }),
  );
  const cases: readonly (readonly [Partial<TlsOptions>, RegExp])[] = [
    [{ keyFile: other }, /--tls-key .*other\.pem does not match the certificate in --tls-cert .*cert\.pem/],
    [{ keyFile: locked }, /--tls-key .*locked\.pem: the key is encrypted/],
    [{ keyFile: join(FOLDER, "first.pem") }, /--tls-key .*first\.pem: not a PEM private key/],
    [{ certFile: join(FOLDER, "key.pem") }, /--tls-cert .*key\.pem: not a PEM certificate/],
    [{ certFile: join(folder, "none.pem") }, /none\.pem/],
  ];
  for (const [more, message] of cases) await expect(openCertificate(options(more))).rejects.toThrow(message);
  said.length = 0;
  await openCertificate(options({ date: () => Date.UTC(2200, 0) }));
  expect(said).toEqual(["the TLS certificate has expired"]);
});
