// The trainer as its supervisor sees it: a child process that is started when it is needed, and again after it has died.
import {
  type FinetuneEvent,
  type FinetuneOptions,
  type FinetuneSettingsInput,
  MosError,
} from "mixture-of-shards";
import type { TrackOptions } from "mixture-of-shards/kit";
import { errorText } from "mixture-of-shards-core/common";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { moduleBeside, startChild } from "mixture-of-shards-core/process";
import type { TrainerMethods } from "./trainer-process.ts";

/** A slice to train: a run in a folder, from its last checkpoint where there is one. */
export interface TrainRequest {
  /** The folder or file of the base. */
  readonly model: string;
  readonly data: string;
  readonly validationData: string | undefined;
  readonly out: string;
  readonly resume: boolean;
  readonly adapter: FinetuneOptions["adapter"];
  readonly settings: FinetuneSettingsInput;
  /** Tokens that the whole job may train; undefined for any number. */
  readonly maxTokens: number | undefined;
  /** Seconds after which a checkpoint is made, wherever the run stands. */
  readonly saveSeconds: number;
  /** Where the base's own answers are kept for further jobs. */
  readonly cacheFolder: string;
  readonly threads: number;
  /** Tracker that gets the metrics. */
  readonly track?: (TrackOptions & { readonly id: string; readonly name: string }) | undefined;
  /** The endpoint that graders ask models at, with a key for this slice. */
  readonly models: { readonly url: string; readonly key: string } | undefined;
}

/** A report on the slice: the last one says how it ended. */
export type TrainReport =
  | { readonly type: "event"; readonly event: FinetuneEvent }
  | { readonly type: "ended"; readonly isComplete: boolean }
  | { readonly type: "failed"; readonly code: string; readonly message: string };

/** Trains one slice at a time. */
export interface Trainer extends AsyncDisposable {
  /**
   * Reports until the slice has ended. After a checkpoint, training goes on when the next report is asked for. Throws if the
   * process dies before, and `TrainerStalled` if it was killed because it made no progress.
   */
  train(order: TrainRequest): AsyncIterable<TrainReport>;
  /** Ends the running slice at a checkpoint. */
  stop(): void;
  /** Ends the process at once, in the middle of whatever it does. */
  kill(): void;
}

/** A trainer was killed because it neither reported nor computed anything. */
export class TrainerStalled extends Error {
  constructor(seconds: number) {
    super(`the trainer made no progress for ${seconds} s and was killed`);
  }
}

type TrainerChild = ReturnType<typeof startChild<TrainerMethods>>;

const startTrainer = async (): Promise<TrainerChild> =>
  startChild<TrainerMethods>(moduleBeside(import.meta.url, "trainer-process"), {
    exitError: (how) => new Error(`the trainer exited: ${how}`),
    // of its sandbox: one that is killed leaves nothing
    temporaryFolder: await makeTemporaryFolder("mos-trainer-"),
  });

/**
 * A trainer whose process is not started yet. The process is killed after `stallSeconds` in which it neither reported nor
 * computed anything.
 */
export function createTrainer({ stallSeconds }: { readonly stallSeconds: number }): Trainer {
  let child: TrainerChild | undefined;
  let stopping = new AbortController();
  return {
    async *train(order) {
      stopping = new AbortController();
      const trainer = child?.isAlive === true ? child : await startTrainer();
      child = trainer;
      try {
        const events = trainer.stream("train", order, { signal: stopping.signal });
        yield { type: "ended", ...(yield* untilStalled(trainer, events, stallSeconds)) };
      } catch (error) {
        if (!trainer.isAlive) throw error;
        const code = error instanceof MosError ? error.code : "unexpected";
        yield { type: "failed", code, message: errorText(error) };
      }
    },
    stop: () => stopping.abort(),
    kill: () => child?.kill(),
    [Symbol.asyncDispose]: async () => {
      child?.kill();
      await child?.exited;
    },
  };
}

/** Events of a slice. A process that neither computes nor reports while the next one is waited for is killed. */
async function* untilStalled(
  child: TrainerChild,
  events: ReturnType<typeof child.stream<"train">>,
  stallSeconds: number,
): AsyncGenerator<TrainReport, { readonly isComplete: boolean }> {
  // counted, not timed: this process may have been stopped itself
  let quietSeconds = 0;
  child.onHeartbeat = (isComputing) => {
    if (isComputing) quietSeconds = 0;
  };
  for (;;) {
    const second = setInterval(() => {
      quietSeconds++;
      if (quietSeconds >= stallSeconds) child.kill(new TrainerStalled(stallSeconds));
    }, 1000);
    const { done, value } = await events.next().finally(() => clearInterval(second));
    if (done === true) return value;
    if (value.type !== "waiting") yield { type: "event", event: value };
    quietSeconds = 0;
  }
}
