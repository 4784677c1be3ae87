import type { FinishReason } from "#generation";
import { formatDuration, formatRate } from "./progress.ts";
import { counted } from "./terminal.ts";

export interface AnswerClock {
  token(): void;
  tokens(): number;
  /** How much was written, how fast, and why it ended where that is not plain. */
  summary(answers: readonly { readonly reason: FinishReason }[]): string;
}

/** Measures the speed of an answer from its first token on: what comes before is the reading of the prompt. */
export function startClock(now: () => number = () => performance.now()): AnswerClock {
  const started = now();
  let first = Number.NaN;
  let last = started;
  let tokens = 0;
  return {
    token: () => {
      last = now();
      if (tokens === 0) first = last;
      tokens++;
    },
    tokens: () => tokens,
    summary: (answers) => {
      const seconds = (last - first) / 1000;
      const speed = tokens > 1 && seconds > 0 ? `, ${formatRate((tokens - 1) / seconds, "tokens")}` : "";
      const wait = tokens > 0 ? `, first after ${formatDuration((first - started) / 1000)}` : "";
      const cut = answers.some(({ reason }) => reason === "length")
        ? "; cut off: --max-tokens or the context allows no more"
        : "";
      return `${counted(tokens, "token")}${wait}${speed}${cut}`;
    },
  };
}
