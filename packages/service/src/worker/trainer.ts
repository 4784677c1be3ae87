// The trainer as its supervisor sees it: a child process that is started when it is needed, and again after it has died.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { childOptions, moduleBeside } from "mixture-of-shards/core";
import type { Order, Report, TrainOrder } from "./orders.ts";

/** Trains one slice at a time. */
export interface Trainer extends AsyncDisposable {
  /** The model whose base it has loaded. */
  readonly model: string | undefined;
  /** What it says until the slice has ended. Throws where the process dies in the middle. */
  train(order: TrainOrder): AsyncIterable<Report>;
  /** Ends the running slice at a checkpoint. */
  stop(): void;
  /** Goes on after a checkpoint. */
  continue(): void;
  /** Ends the process at once, in the middle of whatever it does. */
  kill(): void;
}

const ENTRY = moduleBeside(import.meta.url, "trainer-process");

/** A trainer whose process is not started yet. */
export function createTrainer(): Trainer {
  let child: ChildProcess | undefined;
  let model: string | undefined;
  const start = async (): Promise<ChildProcess> => {
    if (child?.connected === true) return child;
    model = undefined;
    const started = fork(ENTRY, [], {
      execArgv: [...childOptions(ENTRY)],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    started.on("error", () => undefined); // its exit says it
    child = started;
    await Promise.race([once(started, "message"), once(started, "exit")]);
    return started;
  };
  const send = (order: Order): void => {
    if (child?.connected === true) child.send(order, () => undefined);
  };
  return {
    get model() {
      return child?.connected === true ? model : undefined;
    },
    async *train(order) {
      const running = await start();
      const reports = reportsOf(running);
      running.send(order, () => undefined);
      model = order.model;
      yield* reports;
    },
    stop: () => send({ type: "stop" }),
    continue: () => send({ type: "continue" }),
    kill: () => child?.kill("SIGKILL"),
    [Symbol.asyncDispose]: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Reports in order, up to the one that ends the slice. */
async function* reportsOf(child: ChildProcess): AsyncGenerator<Report, void> {
  const waiting: Report[] = [];
  let died: string | undefined = child.connected ? undefined : "it could not be started";
  let wake: (() => void) | undefined;
  const onMessage = (report: Report): void => {
    waiting.push(report);
    wake?.();
  };
  const onExit = (code: number | null, signal: string | null): void => {
    died = signal === null ? `its exit code is ${code}` : `it was ended by ${signal}`;
    wake?.();
  };
  child.on("message", onMessage).once("exit", onExit);
  try {
    for (;;) {
      const report = waiting.shift();
      if (report !== undefined) {
        yield report;
        if (report.type !== "event") return;
      } else if (died !== undefined) throw new Error(`the trainer is gone: ${died}`);
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    child.off("message", onMessage).off("exit", onExit);
  }
}
