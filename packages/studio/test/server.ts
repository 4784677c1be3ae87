// A real mos serve on the bundled model, for tests in the browser.
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface ServerOptions {
  /** Fine-tuning, with PGlite and storage in a temporary folder. */
  readonly state?: boolean;
  /** Keys for the tenants admin (an administrator), acme and globex; see `keyFor`. */
  readonly keys?: boolean;
  /** Folder below which run folders are shown. */
  readonly runs?: string;
  /** Folder of adapters; not with `state`. */
  readonly adapters?: string;
  /** Further options of mos serve. */
  readonly more?: readonly string[];
}

export interface StudioServer extends AsyncDisposable {
  /** Such as http://127.0.0.1:41234. */
  readonly address: string;
  /** Ends the server, as a crash does. */
  stop(): Promise<void>;
  /** Starts it again at the same address, after `stop` as well. */
  restart(): Promise<void>;
}

const TENANTS = ["admin", "acme", "globex"];
/** What is built, where that is what will be used; else the sources as they are now. */
const MAIN =
  process.env["CI"] === undefined
    ? ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", "serve"]
    : ["packages/mos/dist/cli/main.js", "serve"];
const MODEL = ["--model", "assets/tiny-english", "--model-name", "tiny-english"];

/** The key of a tenant. */
export const keyFor = (tenant: string): string => `key-of-${tenant}`;

const keyFile = (): string =>
  TENANTS.map((name) => {
    const sha256 = createHash("sha256").update(keyFor(name)).digest("hex");
    return `${JSON.stringify({ name, sha256, admin: name === "admin" })}\n`;
  }).join("");

async function startProcess(args: readonly string[]): Promise<{ child: ChildProcess; address: string }> {
  const child = spawn(process.execPath, [...MAIN, ...args, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.on("data", (data) => {
    log = `${log}${data}`.slice(-5000);
  });
  const line = once(createInterface(child.stdout), "line") as Promise<[string]>;
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`mos serve ended:\n${log}`)));
  ended.catch(() => undefined); // it ends after the tests, too
  const [ready] = await Promise.race([line, ended]);
  return { child, address: JSON.parse(ready).address };
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended.finally(() => clearTimeout(timer));
}

/** Starts a server on a free port; about two seconds. */
export async function startServer(options: ServerOptions): Promise<StudioServer> {
  const { state, keys, runs, adapters, more = [] } = options;
  const folder = await mkdtemp(join(tmpdir(), "mos-studio-"));
  const keysAt = join(folder, "keys.jsonl");
  if (keys === true) await writeFile(keysAt, keyFile());
  const args = [
    ...MODEL,
    ...["--drain-seconds", "0"],
    ...(state === true ? ["--state", join(folder, "state"), "--stop-seconds", "1"] : []),
    ...(keys === true ? ["--api-keys", keysAt] : []),
    ...(runs === undefined ? [] : ["--runs", runs]),
    ...(adapters === undefined ? [] : ["--adapters", adapters]),
    ...more,
  ];
  let { child, address } = await startProcess([...args, "--port", "0"]);
  return {
    address,
    stop: () => endProcess(child, "SIGKILL"),
    async restart() {
      await endProcess(child, "SIGTERM");
      ({ child, address } = await startProcess([...args, "--port", new URL(address).port]));
    },
    async [Symbol.asyncDispose]() {
      await endProcess(child, "SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}
