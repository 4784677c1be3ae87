import { createServer, listen, type ServerOptions } from "#server";
import { loadTextFromFolder } from "#text";
import { type FakeEngine, type FakeEngineOptions, fakeEngine } from "./fake-engine.ts";

export interface HarnessOptions {
  readonly engine?: Omit<FakeEngineOptions, "text">;
  readonly server?: Partial<ServerOptions>;
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Harness extends AsyncDisposable {
  readonly engine: FakeEngine;
  readonly url: string;
  readonly port: number;
  readonly log: LogLine[];
  readonly close: (drainSeconds: number) => Promise<void>;
  /** A request with a JSON body, or none. */
  send(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any form are looked into
  readonly json: any;
}

/** A server on a free port, in front of a fake engine. */
export async function startServer({
  engine: engineOptions,
  server: options,
}: HarnessOptions = {}): Promise<Harness> {
  const text = await loadTextFromFolder("assets/tiny-english");
  const engine = fakeEngine({ text, ...engineOptions });
  const log: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void log.push({ level, message, fields: { ...fields } });
  let seed = 0;
  const server = createServer({
    engine,
    text,
    modelName: "base",
    log: { info: write("info"), warn: write("warn"), error: write("error") },
    now: Date.now,
    nextSeed: () => seed++,
    ...options,
  });
  const listening = await listen(server, { host: "127.0.0.1", port: 0 });
  const url = listening.address;
  let isOpen = true;
  const close = async (drainSeconds: number): Promise<void> => {
    if (isOpen) await listening.close({ drainSeconds });
    isOpen = false;
  };
  return {
    engine,
    url,
    port: listening.port,
    log,
    close,
    async send(path, body, headers = {}) {
      const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
      const response = await fetch(`${url}${path}`, {
        ...init,
        headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      });
      const answer = await response.text();
      const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
      return {
        status: response.status,
        headers: response.headers,
        text: answer,
        json: isJson ? JSON.parse(answer) : undefined,
      };
    },
    [Symbol.asyncDispose]: () => close(0.2),
  };
}
