import { type Pace, Paused } from "#automaton";
import { GrammarError } from "#grammar";

/** Milliseconds after which work lets other work of the thread run. */
const SLICE = 5;

/** Milliseconds of work for one grammar, without what others take in between. */
const LIMIT = 5000;

/** The slice that comes last. Those of all grammars take turns, so that a thread with many of them stops no longer than with one. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Runs work in slices of a few milliseconds, between which other work of the thread runs. Without a pace it is one slice.
 * @throws GrammarError `limit` if it takes seconds
 */
export async function inSlices<Result>(work: () => Result, pace?: Pace): Promise<Result> {
  let spent = 0;
  const attempt = (): { readonly result: Result } | undefined => {
    const start = performance.now();
    try {
      return { result: pace ? pace.run(() => performance.now() - start > SLICE, work) : work() };
    } catch (error) {
      if (error instanceof Paused) return undefined;
      throw error;
    } finally {
      spent += performance.now() - start;
    }
  };
  for (;;) {
    const turn = last.then(letOthersRun).then(attempt);
    last = turn.then(nothing, nothing);
    const done = await turn;
    if (done) return done.result;
    if (spent > LIMIT)
      throw new GrammarError("limit", "It takes too long to find out which texts the grammar matches.");
  }
}

const nothing = (): void => undefined;

const letOthersRun = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
