// The trainer as its supervisor sees it: a child process that is started when it is needed, and again after it has died.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { AsyncQueue, moduleBeside } from "mixture-of-shards/cli";
import { onComputing, startChild } from "./child.ts";
import type { FromTrainer, ToTrainer, TrainRequest } from "./protocol.ts";

/** Trains one slice at a time. */
export interface Trainer extends AsyncDisposable {
  /** The model whose base it has loaded. */
  readonly model: string | undefined;
  /**
   * Events until the slice has ended. Throws if the process dies before, and `TrainerStalled` if it was
   * killed because it made no progress.
   */
  train(order: TrainRequest): AsyncIterable<FromTrainer>;
  /** Ends the running slice at a checkpoint. */
  stop(): void;
  /** Goes on after a checkpoint. */
  continue(): void;
  /** Ends the process at once, in the middle of whatever it does. */
  kill(): void;
}

/** A trainer was killed because it neither said nor computed anything. */
export class TrainerStalled extends Error {
  constructor(seconds: number) {
    super(`the trainer made no progress for ${seconds} s and was killed`);
  }
}

export interface TrainerOptions {
  /** Seconds without a report and without computing after which the process is killed. */
  readonly stallSeconds: number;
}

const ENTRY = moduleBeside(import.meta.url, "trainer-process");

/** Seconds in which a killed process ends, unless a disk that hangs holds it. */
const KILL_SECONDS = 2;

/** A trainer whose process is not started yet. */
export function createTrainer(options: TrainerOptions): Trainer {
  let child: ChildProcess | undefined;
  let model: string | undefined;
  const alive = new Set<ChildProcess>();
  const launch = (): ChildProcess => {
    const started = startChild(ENTRY);
    alive.add(started);
    const isGone = (): void => void alive.delete(started);
    started.once("exit", isGone).on("error", () => undefined);
    if (started.pid === undefined) isGone();
    return started;
  };
  const send = (order: ToTrainer): void => {
    if (child?.connected === true) child.send(order, () => undefined);
  };
  const kill = (): void => {
    child?.kill("SIGKILL");
    child = undefined; // it counts as connected until its end was noticed
  };
  return {
    get model() {
      return child?.connected === true ? model : undefined;
    },
    async *train(order) {
      try {
        if (child?.connected !== true) {
          model = undefined;
          child = launch();
          for await (const _ready of readReports(child, options));
        }
        const reports = readReports(child, options);
        send(order);
        model = order.model;
        yield* reports;
      } catch (error) {
        kill();
        throw error;
      }
    },
    stop: () => send({ type: "stop" }),
    continue: () => send({ type: "continue" }),
    kill,
    [Symbol.asyncDispose]: async () => {
      kill();
      const ended = Promise.all([...alive].map((one) => once(one, "exit")));
      await Promise.race([ended, sleep(KILL_SECONDS * 1000)]);
      for (const one of alive) detach(one);
    },
  };
}

/** A process that does not end even now must not keep this one. */
function detach(child: ChildProcess): void {
  child.unref();
  if (child.connected) child.disconnect();
  for (const stream of child.stdio) stream?.destroy();
}

/** Reports in order, up to the one that ends the slice. */
async function* readReports(
  child: ChildProcess,
  { stallSeconds }: TrainerOptions,
): AsyncGenerator<FromTrainer, void> {
  const queue = new AsyncQueue<FromTrainer>();
  // counted, not timed: this process may have been stopped itself
  let quietSeconds = 0;
  const onMessage = (report: FromTrainer): void => {
    quietSeconds = 0;
    queue.push(report);
  };
  const fail = (error: Error): void => queue.close(error);
  if (!child.connected) fail(new Error("the trainer could not be started"));
  const onExit = (code: number | null, signal: string | null): void =>
    fail(
      new Error(
        `the trainer exited: ${signal === null ? `its exit code is ${code}` : `it was ended by ${signal}`}`,
      ),
    );
  const stopListening = onComputing(child, () => {
    quietSeconds = 0;
  });
  child.on("message", onMessage).once("exit", onExit).once("error", fail);
  try {
    for (;;) {
      const second = setInterval(() => {
        quietSeconds++;
        if (quietSeconds >= stallSeconds) fail(new TrainerStalled(stallSeconds));
      }, 1000);
      const { done, value: report } = await queue.next().finally(() => clearInterval(second));
      if (done === true) return;
      yield report;
      // a trainer that waits for its supervisor computes nothing
      quietSeconds = 0;
      if (report.type !== "event") return;
    }
  } finally {
    stopListening();
    child.off("message", onMessage).off("exit", onExit).off("error", fail);
  }
}
