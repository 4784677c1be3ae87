// Votes between answers, and the preference pairs that they are as training data.
import type { Message } from "./messages.ts";

/** What one model said in the whole conversation. */
export interface Candidate {
  readonly model: string;
  readonly messages: readonly Message[];
}

/** One judgement of a person. */
export interface Vote {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly mode: "chat" | "text";
  readonly isBlind: boolean;
  readonly candidates: readonly Candidate[];
  /** The place of the better one, or none of them. */
  readonly verdict: number | "tie" | "bad";
  readonly tools?: readonly object[] | undefined;
}

/** A line of training data in TRL's preference form: conversations, or texts of a model without a chat template. */
export interface PreferencePair {
  readonly prompt: readonly Message[] | string;
  readonly chosen: readonly Message[] | string;
  readonly rejected: readonly Message[] | string;
  readonly tools?: readonly object[];
}

/** The better answer against each of the others. A tie, two bad ones, and equal answers say nothing of which is better. */
export function toPairs({ mode, candidates, verdict, tools }: Vote): readonly PreferencePair[] {
  const chosen = typeof verdict === "number" ? candidates[verdict] : undefined;
  if (chosen === undefined) return [];
  return candidates.flatMap((rejected) => {
    const [good, bad] = [chosen.messages, rejected.messages];
    const common = countCommon(good, bad);
    if (common === good.length || common === bad.length) return [];
    const form = mode === "chat" ? (part: readonly Message[]) => part : joinText;
    return [
      {
        prompt: form(good.slice(0, common)),
        chosen: form(good.slice(common)),
        rejected: form(bad.slice(common)),
        ...(tools === undefined ? {} : { tools }),
      },
    ];
  });
}

const joinText = (messages: readonly Message[]): string => messages.map(({ content }) => content).join("");

/** Messages with which both conversations begin. They part at an answer: what a person wrote is the same in all. */
function countCommon(a: readonly Message[], b: readonly Message[]): number {
  const at = a.findIndex((message, i) => JSON.stringify(message) !== JSON.stringify(b[i]));
  return at < 0 ? a.length : at;
}

/** The pairs of many votes as JSON Lines. */
export const toJsonLines = (votes: readonly Vote[]): string =>
  votes.flatMap((vote) => toPairs(vote).map((pair) => `${JSON.stringify(pair)}\n`)).join("");

/** A vote as lessons: the better answer, in place of each of the others. Texts without tools. */
export function toLessons(vote: Vote): readonly object[] {
  if (vote.mode !== "chat" || vote.tools !== undefined) return [];
  const source = { kind: "vote", id: String(vote.at), created_at: Math.floor(vote.at / 1000) };
  return toPairs(vote).flatMap(({ prompt, chosen, rejected }) => {
    const all = [prompt, chosen, rejected].flat().filter((part) => typeof part === "object");
    if (all.some(({ role, tool_calls: calls }) => role === "tool" || calls !== undefined)) return [];
    if (chosen.length !== 1 || rejected.length !== 1) return [];
    const messages = all.slice(0, -1).map(({ role, content }) => ({ role, content }));
    return [{ messages, rejected_response: all.at(-1)?.content, source }];
  });
}

/** How often a model was compared, and how that ended. */
export interface Tally {
  readonly model: string;
  readonly wins: number;
  readonly losses: number;
  /** Ties, and votes for none. */
  readonly others: number;
}

/** The models of many votes, those with the largest share of wins first. */
export function tally(votes: readonly Vote[]): readonly Tally[] {
  const counts = new Map<string, Tally>();
  for (const { candidates, verdict } of votes)
    for (const [i, { model }] of candidates.entries()) {
      const { wins, losses, others } = counts.get(model) ?? { wins: 0, losses: 0, others: 0 };
      const isDecided = typeof verdict === "number";
      const [won, lost] = [isDecided && verdict === i, isDecided && verdict !== i];
      counts.set(model, {
        model,
        wins: wins + Number(won),
        losses: losses + Number(lost),
        others: others + Number(!isDecided),
      });
    }
  const share = ({ wins, losses, others }: Tally): number => wins / (wins + losses + others);
  return [...counts.values()].sort((a, b) => share(b) - share(a) || (a.model < b.model ? -1 : 1));
}
