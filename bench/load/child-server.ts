// mos serve as a child process that can be killed and started again on the same port, and the memory that it takes.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

export interface ChildServerOptions {
  /** Arguments of mos serve but the port. */
  readonly options: readonly string[];
  /** A file for its log. */
  readonly log: string;
}

/** Bytes that the server's process and its engine's take. */
export interface Memory {
  readonly server: number;
  readonly engine: number;
}

interface ProcessLine {
  readonly id: number;
  readonly parent: number;
  readonly bytes: number;
}

async function processes(): Promise<readonly ProcessLine[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,rss="]);
  return stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number))
    .map(([id = 0, parent = 0, kilobytes = 0]) => ({ id, parent, bytes: kilobytes * 1024 }));
}

const isAlive = (id: number): boolean => {
  try {
    return process.kill(id, 0);
  } catch {
    return false;
  }
};

export class ChildServer {
  /** How often it was started. */
  generation = 0;
  isDown = true;
  address = "";
  model = "";
  readonly #given: ChildServerOptions;
  #child: ChildProcess | undefined;
  #port = "0";

  constructor(given: ChildServerOptions) {
    this.#given = given;
  }

  /** Starts it, at the port that it had before. */
  async start(): Promise<void> {
    const log = await open(this.#given.log, "a");
    const command = [
      "packages/mos/dist/cli/main.js",
      "serve",
      ...this.#given.options,
      "--port",
      this.#port,
      "--json",
    ];
    const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", log.fd] });
    this.#child = child;
    await log.close();
    const exited = once(child, "exit").then(([code]) => {
      throw new Error(`mos serve ended with ${code}; its log is ${this.#given.log}`);
    });
    exited.catch(() => undefined);
    const [line] = await Promise.race([once(createInterface(child.stdout ?? process.stdin), "line"), exited]);
    const { address, model } = JSON.parse(String(line)) as {
      readonly address: string;
      readonly model: string;
    };
    this.address = address;
    this.model = model;
    this.#port = new URL(address).port;
    this.generation++;
    this.isDown = false;
  }

  async memory(): Promise<Memory | undefined> {
    const own = this.#child?.pid;
    const lines = await processes();
    const server = lines.find(({ id }) => id === own)?.bytes;
    const engine = lines.find(({ parent }) => parent === own)?.bytes;
    return server === undefined || engine === undefined ? undefined : { server, engine };
  }

  /** Kills it without a warning. Its engine must end by itself. */
  async kill(): Promise<void> {
    const own = this.#child;
    const engine = (await processes()).find(({ parent }) => parent === own?.pid)?.id;
    if (own === undefined || engine === undefined) throw new Error("there is no server to be killed");
    this.isDown = true;
    const exited = once(own, "exit");
    own.kill("SIGKILL");
    await exited;
    const deadline = performance.now() + 30_000;
    while (isAlive(engine)) {
      if (performance.now() > deadline) throw new Error("the engine's process outlives its server by 30 s");
      await sleep(100);
    }
  }

  /** Ends it as an operator does. Gives its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    const [code] = (await exited) as [number | null];
    return code;
  }
}
