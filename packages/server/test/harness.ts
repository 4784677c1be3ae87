import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import OpenAI from "openai";
import { type ApiServer, createServer, listen, type ServerOptions } from "../src/index.ts";
import { type FakeEngine, type FakeEngineOptions, fakeEngine } from "./fake-engine.ts";

export interface HarnessOptions {
  readonly engine?: Partial<FakeEngineOptions>;
  readonly server?: Partial<ServerOptions>;
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
  readonly json: any;
}

/** A server in front of a fake engine. */
export interface Harness extends AsyncDisposable {
  readonly engine: FakeEngine;
  readonly log: LogLine[];
  /** Through the port if there is one, and directly otherwise. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** A request with a JSON body, or none. */
  send(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** OpenAI's own client of this server. */
  client(options?: { readonly timeout?: number }): OpenAI;
}

/** A harness with a port, for tests in which the socket is the point. */
export interface SocketHarness extends Harness {
  readonly url: string;
  readonly port: number;
  readonly close: (drainSeconds: number) => Promise<void>;
}

/** A server without a port. */
export async function makeServer(options: HarnessOptions = {}): Promise<Harness> {
  const { server, engine, log } = await createParts(options);
  const request = async (path: string, init?: RequestInit) => server.app.request(path, init);
  return { engine, log, ...requests(request), [Symbol.asyncDispose]: async () => undefined };
}

/** A server on a free port. */
export async function startServer(options: HarnessOptions = {}): Promise<SocketHarness> {
  const { server, engine, log } = await createParts(options);
  const listening = await listen(server, { host: "127.0.0.1", port: 0 });
  const { address: url, port } = listening;
  let isOpen = true;
  const close = async (drainSeconds: number): Promise<void> => {
    if (isOpen) await listening.close({ drainSeconds });
    isOpen = false;
  };
  const request = (path: string, init?: RequestInit) => fetch(new URL(path, url), init);
  return { engine, log, url, port, close, ...requests(request), [Symbol.asyncDispose]: () => close(0.2) };
}

interface Parts extends Pick<Harness, "engine" | "log"> {
  readonly server: ApiServer;
}

async function createParts({ engine: engineOptions, server: options }: HarnessOptions): Promise<Parts> {
  const text = await loadTextFromFolder("assets/tiny-english");
  const engine = fakeEngine({ text, ...engineOptions });
  const log: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void log.push({ level, message, fields: { ...fields } });
  let seed = 0;
  const server = createServer({
    engine,
    modelName: "base",
    log: { info: write("info"), warn: write("warn"), error: write("error") },
    now: Date.now,
    nextSeed: () => seed++,
    ...options,
  });
  return { server, engine, log };
}

function requests(request: Harness["fetch"]): Pick<Harness, "fetch" | "send" | "client"> {
  return {
    fetch: request,
    async send(path, body, headers = {}) {
      const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
      const response = await request(path, {
        ...init,
        headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      });
      const text = await response.text();
      const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
      return {
        status: response.status,
        headers: response.headers,
        text,
        json: isJson ? JSON.parse(text) : undefined,
      };
    },
    client: ({ timeout = 60_000 } = {}) =>
      new OpenAI({
        baseURL: "http://localhost/v1",
        apiKey: "none",
        maxRetries: 0,
        timeout,
        fetch: (url, init) => {
          const { pathname, search } = new URL(url instanceof Request ? url.url : url);
          return request(pathname + search, init);
        },
      }),
  };
}

/** Starts `mos serve` on a free port, and reads the line that it prints when it is ready; `files`: that it may open. */
export async function serveCommand(options: readonly string[], { files }: { readonly files?: number } = {}) {
  const main = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", "serve"];
  const limited = files === undefined ? "" : `ulimit -n ${files} && `;
  const command = ["-c", `${limited}exec "$0" "$@"`, process.execPath];
  const child = spawn("bash", [...command, ...main, ...options, "--port", "0", "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { log: "" };
  child.stderr.on("data", (data) => {
    said.log += data;
  });
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  return { child, said, ready: JSON.parse(line) };
}

/** Sends raw bytes, and returns all that comes back until the server closes the connection or `wait` milliseconds pass. */
export async function sendBytes(
  port: number,
  parts: readonly (string | Buffer)[],
  wait = 30_000,
): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  socket.on("data", (data) => {
    received += data.toString();
  });
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.on("error", () => undefined);
  for (const part of parts) socket.write(part);
  await Promise.race([closed, sleep(wait)]);
  socket.destroy();
  return received;
}
