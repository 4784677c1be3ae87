import processes, { type ChildProcess } from "node:child_process";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test, vi } from "vitest";
import { replaceBuiltin } from "../../../test/replace-builtin.ts";
import type { SandboxError } from "./checker.ts";
import { JailedWorker } from "./jailed-worker.ts";

const { fork } = processes;
const forked = vi.fn(fork);
replaceBuiltin(processes, "fork", () => forked as typeof fork);
const limits = { seconds: 1, memory: 64 << 20 };

test("a process that cannot load says so in one line, and its stack is the cause's", async () => {
  const main = fileURLToPath(new URL("./jail/main.js", import.meta.url));
  forked.mockImplementationOnce(() => fork(main, ["/no/pyodide", "1"], { silent: true }));
  const worker = new JailedWorker(tmpdir(), limits);
  const error: SandboxError = await worker.ready().then(
    () => expect.unreachable(),
    (refusal: SandboxError) => refusal,
  );
  expect(error.code).toBe("device");
  expect(error.message).toMatch(/^the process .* cannot be started: Cannot find module .*pyodide.*$/);
  // not where this end of it was
  expect((error.cause as Error).stack).toMatch(/Cannot find module .*\n {4}at (?!.*jailed-worker)/);
  await worker.exited;
});

test("a run leaves no listeners on the process, and the end of the process ends the run", async () => {
  const worker = new JailedWorker(tmpdir(), { ...limits, seconds: 60 });
  const child = forked.mock.results.at(-1)?.value as ChildProcess;
  await worker.ready();
  const held = vi.spyOn(worker.exited, "then");
  const listeners = () => child.eventNames().map((name) => [name, child.listenerCount(name)]);
  const before = listeners();
  for (const program of ["assert True", "assert False"])
    expect(await worker.run(program, undefined)).toMatchObject({ passed: program === "assert True" });
  expect(listeners()).toEqual(before);
  expect(held).not.toHaveBeenCalled();
  held.mockRestore();

  const endless = worker.run("while True: pass", undefined);
  child.kill("SIGKILL");
  expect(await endless).toMatchObject({ passed: false, reason: "failed: the program ended its process" });
  await worker.exited;
  expect(await worker.run("assert True", undefined)).toEqual({
    passed: false,
    reason: "failed: the process is gone",
    reusable: false,
  });
});
