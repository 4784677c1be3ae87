// A real mos serve of a test's own on the bundled model, with keys of tenants.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import OpenAI from "openai";

const MAIN = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
const MODEL = ["--model-name", "tiny", "--threads", "1"];

/** The program mos, from source. Its errors are lines, and so is what it prints. */
export function startMos(
  args: readonly string[],
  {
    onLine,
    env = {},
    model = "assets/tiny-english",
  }: {
    readonly onLine: (line: string) => void;
    readonly env?: NodeJS.ProcessEnv;
    readonly model?: string | undefined;
  },
): ChildProcess {
  const [command = "", ...rest] = args;
  const child = spawn(process.execPath, [...MAIN, command, "--model", model, ...MODEL, ...rest], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null) createInterface(stream).on("line", onLine);
  return child;
}

/** Ends a process, and waits for it. */
export async function endProcess(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  await ended;
}

/** A server that answers. */
export interface Serving extends AsyncDisposable {
  readonly folder: string;
  readonly storage: string;
  /** Without /v1. */
  readonly address: string;
  readonly process: ChildProcess;
  /** What it has logged and printed. */
  readonly lines: readonly string[];
  readonly keyFor: (tenant: string) => string;
  readonly client: (tenant: string) => OpenAI;
}

/** Starts a server, on PGlite unless `url` names a database. A tenant called admin is an administrator. */
export async function startServing(
  tenants: readonly string[],
  {
    url,
    more = [],
    limits = {},
    model,
    folder: given,
  }: {
    readonly url?: string | undefined;
    readonly more?: readonly string[];
    /** `fine_tuning` of all keys. */
    readonly limits?: object;
    readonly model?: string;
    /** Of a server before it, which is kept. */
    readonly folder?: string;
  } = {},
): Promise<Serving> {
  const folder = given ?? (await mkdtemp(join(tmpdir(), "mos-serving-")));
  const storage = more[more.indexOf("--storage") + 1 || more.length] ?? join(folder, "storage");
  const keyFor = (tenant: string): string => `sk-${tenant}-of-a-test`;
  const keys = tenants.map((name) => {
    const sha256 = createHash("sha256").update(keyFor(name)).digest("hex");
    return `${JSON.stringify({ name, sha256, fine_tuning: limits, ...(name === "admin" ? { admin: true } : {}) })}\n`;
  });
  await writeFile(join(folder, "keys.jsonl"), keys.join(""));
  const lines: string[] = [];
  const state = url === undefined ? ["--state", join(folder, "state")] : ["--database-url", url];
  const own = ["--port", "0", "--json", "--api-keys", join(folder, "keys.jsonl")];
  const { promise, resolve, reject } = deferred<string>();
  const child = startMos(["serve", ...state, ...own, "--storage", storage, ...more], {
    model,
    onLine: (line) => {
      lines.push(line);
      if (line.includes('"type":"ready"')) resolve(JSON.parse(line).address);
    },
  });
  child.once("exit", () => reject(new Error(lines.join("\n"))));
  const address = await promise;
  return {
    folder,
    storage,
    address,
    lines,
    keyFor,
    process: child,
    client: (tenant) =>
      new OpenAI({ apiKey: keyFor(tenant), baseURL: `${address}/v1`, maxRetries: 0, timeout: 60_000 }),
    [Symbol.asyncDispose]: async () => {
      await endProcess(child);
      if (given === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((yes, no) => {
    [resolve, reject] = [yes, no];
  });
  return { promise, resolve, reject };
}
