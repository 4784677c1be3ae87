// Programs in the system's Python, only where somebody asks for it: limits, but no sandbox.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { access, constants, rm } from "node:fs/promises";
import type { Readable } from "node:stream";
import { MosError } from "#core";
import { makeTemporaryFolder } from "#storage";
import { cancelled } from "./cancelled.ts";
import type { Settings } from "./options.ts";
import { HARNESS } from "./system-python-harness.ts";
import type { CheckResult, ProgramChecker } from "./types.ts";

/** Seconds after the alarm until the process is killed. */
const GRACE = 1;
const LONGEST_RESULT = 1000;

type PythonSettings = Settings & { readonly python: string };

export class SystemPythonChecker implements ProgramChecker {
  readonly #settings: PythonSettings;
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  private constructor(settings: PythonSettings) {
    this.#settings = settings;
  }

  /** @throws MosError `not_found`, `bad_option` for what is no Python. */
  static async open(settings: PythonSettings): Promise<SystemPythonChecker> {
    await access(settings.python, constants.X_OK).catch((cause: unknown) => {
      const found = `${settings.python} is not a program that can be run; give the whole path of a Python`;
      throw new MosError("not_found", found, { cause });
    });
    const checker = new SystemPythonChecker(settings);
    const { passed, reason } = await checker.check("assert 1 + 1 == 2");
    if (passed) return checker;
    throw new MosError("bad_option", `${settings.python} does not run Python programs: ${reason}`);
  }

  async check(program: string, signal?: AbortSignal): Promise<CheckResult> {
    const either = AbortSignal.any([this.#closing.signal, ...(signal === undefined ? [] : [signal])]);
    if (either.aborted) throw cancelled(either);
    const run = this.#check(program, either);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    this.#running.add(settled);
    void settled.then(() => this.#running.delete(settled));
    return run;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new MosError("cancelled", "the program checker was closed"));
    await Promise.all(this.#running);
  }

  async #check(program: string, signal: AbortSignal): Promise<CheckResult> {
    const folder = await makeTemporaryFolder("mos-python-");
    try {
      const token = randomUUID();
      const result = await runHarness({ ...this.#settings, folder, program, token, signal });
      if (signal.aborted) throw cancelled(signal);
      if (result === token) return { passed: true, reason: "passed" };
      // as in the original, who leaves without a word counts as late
      return { passed: false, reason: result === "" ? "timed out" : `failed: ${result}` };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}

interface Run extends PythonSettings {
  readonly folder: string;
  readonly program: string;
  readonly token: string;
  readonly signal: AbortSignal;
}

/** What the process wrote to descriptor 3 until it ended. */
function runHarness({ python, folder, signal, ...job }: Run): Promise<string> {
  const { program, token, seconds, memory } = job;
  return new Promise((resolve, reject) => {
    // a group of its own, which can be killed with all that it started
    const child = spawn(python, ["-I", "-c", HARNESS], {
      ...{ cwd: folder, env: {}, detached: true },
      stdio: ["pipe", "ignore", "ignore", "pipe"],
    });
    const kill = (): void => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // the group is gone
      }
    };
    const timer = setTimeout(kill, (seconds + GRACE) * 1000);
    signal.addEventListener("abort", kill, { once: true });
    let result = "";
    const results = child.stdio[3] as Readable;
    results.setEncoding("utf8").on("data", (text: string) => {
      result = (result + text).slice(0, LONGEST_RESULT);
    });
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      kill();
      results.destroy();
    };
    child.once("error", (cause) => {
      end();
      reject(new MosError("device", `${python} does not start: ${cause.message}`, { cause }));
    });
    child.once("exit", () => {
      kill();
      // who left the group may hold the pipe open: what was written is here by then
      setTimeout(() => results.destroy(), 500).unref();
    });
    child.once("close", () => {
      end();
      resolve(result);
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(JSON.stringify({ program, token, seconds, memory }));
  });
}
