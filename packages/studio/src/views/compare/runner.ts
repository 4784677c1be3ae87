// Streams of several models at once into signals, drawn once a frame.
import { batch, type Signal, signal } from "@preact/signals";
import { messageOf } from "#api";
import {
  type Answer,
  type AnswerProblem,
  type Arrival,
  addArrivals,
  endAnswer,
  failAnswer,
  NO_ANSWER,
  stopAnswer,
} from "./answer.ts";
import type { toRequest } from "./settings.ts";

/** A request that streams an answer. */
export type StreamRequest = ReturnType<typeof toRequest>;

/** What a runner needs of the world around it. */
export interface World {
  readonly stream: (request: StreamRequest, signal: AbortSignal) => AsyncIterable<unknown>;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  /** Calls once, at the next frame: streams make a hundred chunks a second each. */
  readonly schedule: (run: () => void) => void;
}

/** Calls at the next frame, or soon where the page is hidden and has no frames. */
export const nextFrame: World["schedule"] = (run) => {
  if (document.visibilityState === "hidden") setTimeout(run, 100);
  else requestAnimationFrame(run);
};

/** Streams answers, several at once. */
export function createRunner({ stream, now, schedule }: World) {
  const running = signal(0);
  let held = new Map<Signal<Answer>, Arrival[]>();
  /** Shows what waits for a frame. */
  const flush = (): void => {
    const arrived = held;
    held = new Map();
    batch(() => {
      for (const [answer, arrivals] of arrived) answer.value = addArrivals(answer.value, arrivals);
    });
  };
  const add = (answer: Signal<Answer>, arrival: Arrival): void => {
    if (held.size === 0) schedule(flush);
    const arrivals = held.get(answer) ?? [];
    held.set(answer, arrivals);
    arrivals.push(arrival);
  };

  const end = (answer: Signal<Answer>, close: (answer: Answer) => Answer): void => {
    flush();
    answer.value = close(answer.value);
  };
  return {
    /** How many answers are being made. */
    running,
    /** Streams the answer to a request; whatever happens ends in the signal. */
    async run(answer: Signal<Answer>, request: StreamRequest, ended: AbortSignal): Promise<void> {
      answer.value = { ...NO_ANSWER, status: "sent", sentAt: now() };
      running.value++;
      try {
        for await (const data of stream(request, ended)) add(answer, { data, at: now() });
        end(answer, endAnswer);
      } catch (error) {
        end(answer, ended.aborted ? stopAnswer : (one) => failAnswer(one, toProblem(error)));
      } finally {
        running.value--;
      }
    },
  };
}

function toProblem(error: unknown): AnswerProblem {
  const message = messageOf(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? { message, code } : { message };
}
