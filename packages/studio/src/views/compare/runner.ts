// Streams of several models at once into signals, drawn once a frame.
import { batch, type Signal, signal } from "@preact/signals";
import {
  type Answer,
  type Arrival,
  addArrivals,
  endAnswer,
  failAnswer,
  NO_ANSWER,
  stopAnswer,
} from "./answer.ts";
import { collectFrames, type Schedule } from "./frames.ts";
import type { toRequest } from "./settings.ts";

/** A request that streams an answer. */
export type StreamRequest = ReturnType<typeof toRequest>;

/** What a runner needs of the world around it. */
export interface World {
  readonly stream: (request: StreamRequest, signal: AbortSignal) => AsyncIterable<unknown>;
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number;
  readonly schedule: Schedule;
}

/** Streams answers, several at once. */
export function createRunner({ stream, now, schedule }: World) {
  const running = signal(0);
  const frames = collectFrames<readonly [Signal<Answer>, Arrival]>((items) => {
    const byAnswer = new Map<Signal<Answer>, Arrival[]>();
    for (const [answer, arrival] of items) byAnswer.set(answer, [...(byAnswer.get(answer) ?? []), arrival]);
    batch(() => {
      for (const [answer, arrivals] of byAnswer) answer.value = addArrivals(answer.value, arrivals);
    });
  }, schedule);

  const end = (answer: Signal<Answer>, close: (answer: Answer) => Answer): void => {
    frames.flush();
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
        for await (const data of stream(request, ended)) frames.add([answer, { data, at: now() }]);
        end(answer, endAnswer);
      } catch (error) {
        end(answer, ended.aborted ? stopAnswer : (one) => failAnswer(one, toProblem(error)));
      } finally {
        running.value--;
      }
    },
  };
}

function toProblem(error: unknown): { readonly message: string; readonly code?: string } {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? { message, code } : { message };
}
