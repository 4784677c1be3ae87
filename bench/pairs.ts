// Real pairs of answers, the short ones of a file.
import { readFile } from "node:fs/promises";
import { type Example, type ExampleInput, readDataset } from "mixture-of-shards-core/data";

interface Message {
  readonly role: string;
  readonly content: string;
}

/** A pair, and the line that it is in the data. */
export interface Pair {
  readonly line: ExampleInput;
  readonly prompt: readonly Message[];
  readonly chosen: string;
  readonly rejected: string;
  readonly characters: number;
}

function toPair(line: ExampleInput, example: Example | undefined): readonly Pair[] {
  if (example?.kind !== "pair") return [];
  const { chosen, rejected } = example;
  if (chosen.kind !== "chat" || rejected.kind !== "chat") return [];
  const prompt = chosen.turns
    .filter(({ isTarget }) => !isTarget)
    .map(({ role, content }) => ({ role, content }));
  const [better, worse] = [chosen, rejected].map(({ turns }) => turns.at(-1)?.content ?? "") as [
    string,
    string,
  ];
  const texts = [...prompt.map(({ content }) => content), better, worse];
  const characters = texts.reduce((sum, text) => sum + text.length, 0);
  return [{ line, prompt, chosen: better, rejected: worse, characters }];
}

/** Pairs with fewer than so many characters in prompt and answers together. */
export async function readPairs(path: string, below: number): Promise<readonly Pair[]> {
  const text = (await readFile(path, "utf8")).trim();
  const list = text.startsWith("[") ? text : `[${text.split("\n").join(",")}]`;
  const lines = JSON.parse(list) as readonly ExampleInput[];
  const { examples } = await readDataset(lines, { kind: "pairs" });
  return lines.flatMap((line, i) => toPair(line, examples[i])).filter(({ characters }) => characters < below);
}
