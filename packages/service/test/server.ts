// A server with the service's routes, without a port, in front of an engine that needs no model: it says its adapter's name.
import { setTimeout as sleep } from "node:timers/promises";
import { type Engine, type EngineEvent, loadText, MosError } from "mixture-of-shards";
import { createServer } from "mixture-of-shards/server";

interface LogLine {
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

export interface TestServer {
  readonly app: ReturnType<typeof createServer>["app"];
  readonly log: LogLine[];
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** A request with a JSON body, or none. */
  send(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
}

interface TestServerOptions extends Pick<Parameters<typeof createServer>[0], "extension" | "keys"> {
  /** The names of the adapters that there are now; none by default. */
  readonly look?: () => Promise<readonly string[]>;
}

/** Milliseconds before each token, so that an answer takes a moment. */
const DELAY = 5;

/** Only what a server asks of its engine. */
async function createSpeaker(look: () => Promise<readonly string[]>): Promise<Engine> {
  const text = await loadText("assets/tiny-english");
  const { tokenizer } = text;
  let names: readonly string[] = [];
  const adapters = () => names.map((name) => ({ name, digest: `sha256:${name}` }));
  async function* submit({
    adapter = null,
    prompt,
  }: Parameters<Engine["submit"]>[0]): AsyncGenerator<EngineEvent> {
    yield { type: "scheduled", digest: adapter === null ? null : `sha256:${adapter}` };
    const words = `${adapter === null ? "" : ` ${adapter}:`} one two three`.split(/(?= )/);
    for (const [id, word] of words.entries()) {
      await sleep(DELAY);
      yield { type: "token", id, text: word };
    }
    const counts = { promptTokens: prompt.length, cachedTokens: 0, completionTokens: words.length };
    const usage = { ...counts, queuedSeconds: 0, firstTokenSeconds: 0 };
    yield { type: "finish", finishReason: "stop", text: "", usage };
  }
  const engine = {
    text,
    model: { vocabularySize: tokenizer.vocabularySize, maxLength: 256, endTokens: tokenizer.eosTokens },
    defaults: { sampling: {}, sources: {} },
    closed: new Promise<never>(() => undefined),
    isResponding: true,
    submit,
    assertCapacity: () => undefined,
    async checkGrammar(source: unknown) {
      if (JSON.stringify(source).includes("impossible"))
        throw new MosError("bad_option", "impossible is not supported");
    },
    adapters,
    refusedAdapters: () => [],
    onAdapters: () => undefined,
    async refreshAdapters() {
      names = await look();
      return adapters();
    },
  };
  return engine as unknown as Engine;
}

export async function makeServer({
  look = async () => [],
  ...options
}: TestServerOptions = {}): Promise<TestServer> {
  const log: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void log.push({ level, message, fields: { ...fields } });
  const { app } = createServer({
    engine: await createSpeaker(look),
    modelName: "base",
    log: { info: write("info"), warn: write("warn"), error: write("error") },
    now: Date.now,
    nextSeed: () => 0,
    ...options,
  });
  const request = async (path: string, init?: RequestInit) => app.request(path, init);
  return {
    app,
    log,
    fetch: request,
    async send(path, body, headers = {}) {
      const init =
        body === undefined
          ? { headers }
          : {
              method: "POST",
              body: JSON.stringify(body),
              headers: { "content-type": "application/json", ...headers },
            };
      return collectAnswer(await request(path, init));
    },
  };
}

/** A response that has arrived whole. */
export async function collectAnswer(response: Response): Promise<Answer> {
  const { status, headers } = response;
  const text = await response.text();
  const isJson = headers.get("content-type")?.startsWith("application/json") === true;
  return { status, headers, text, json: isJson ? JSON.parse(text) : undefined };
}
