// What graders ask models: a child process asks its supervisor, and has the answer by its method `answer`.
import type { CallContext } from "mixture-of-shards/cli";
import type { GraderAnswer } from "#store";

/** A grader asks a model, which the supervisor has answered. */
export interface Question {
  readonly type: "question";
  readonly id: number;
  readonly request: object;
}

/** The child's side. */
export function createQuestions() {
  const unanswered = new Map<number, (answer: GraderAnswer) => void>();
  let count = 0;
  return {
    /** Asks the supervisor. Throws what it answers in place of a value, and the reason of the signal. */
    ask: async (
      request: object,
      { signal, emit }: Pick<CallContext<Question>, "signal" | "emit">,
    ): Promise<unknown> => {
      const id = ++count;
      signal.throwIfAborted();
      try {
        const answer = await new Promise<GraderAnswer>((resolve, reject) => {
          unanswered.set(id, resolve);
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
          emit({ type: "question", id, request });
        });
        if ("error" in answer) throw new Error(answer.error);
        return answer.value;
      } finally {
        unanswered.delete(id);
      }
    },
    answer: ({ id, answer }: { readonly id: number; readonly answer: GraderAnswer }): void =>
      unanswered.get(id)?.(answer),
  };
}
