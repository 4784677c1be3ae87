// TyDi QA with gold passages as training data: its train files, asked word for word as `mos eval --tasks tydiqa --shots 0`
// asks the dev files, and split by document.
// usage: node --conditions=source --import tsx scripts/study/tydiqa.ts --data DIR --model FILE.gguf --out DIR
import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { MosError, randomStream } from "#core";
import { benchmarkOf, type Question } from "#evaluation";
import { readJson, writeFileAtomic } from "#files";
import { loadModelText, openModel } from "#models";

/** The languages that have a train file here. */
const LANGUAGES = ["english", "korean", "swahili"] as const;

const file = z.looseObject({
  data: z.array(
    z.looseObject({
      title: z.string(),
      paragraphs: z.array(z.looseObject({ qas: z.array(z.looseObject({ id: z.string() })) })),
    }),
  ),
});

export interface SplitSizes {
  /** Documents whose questions choose learning rates, and those whose questions are measured on. */
  readonly tuning: number;
  readonly heldOut: number;
  readonly seed: number;
}

export type SplitName = "train" | "tuning" | "held-out";

/** Which part each document goes to; a document is in one part only. */
export function splitDocuments(
  documents: readonly string[],
  { tuning, heldOut, seed }: SplitSizes,
): ReadonlyMap<string, SplitName> {
  const different = [...new Set(documents)].sort();
  if (tuning + heldOut >= different.length)
    throw new MosError(
      "bad_option",
      `${tuning} + ${heldOut} of ${different.length} documents leave none to train on; use fewer`,
    );
  const order = randomStream(seed, "study.tydiqa.documents").permutation(different.length);
  const partAt = (place: number): SplitName =>
    place < tuning ? "tuning" : place < tuning + heldOut ? "held-out" : "train";
  return new Map([...order].map((document, place) => [different[document] ?? "", partAt(place)]));
}

/** The document of every question, by the question's id. */
async function documentsOf(folder: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const language of LANGUAGES) {
    const path = join(folder, `${language}-train.json`);
    const { data } = await readJson(path, file, { code: "bad_data" });
    for (const { title, paragraphs } of data)
      for (const { qas } of paragraphs) for (const { id } of qas) found.set(id, `${language} ${title}`);
  }
  return found;
}

/** The train files' questions with the prompts of `mos eval`: it asks what stands in dev files. */
async function questionsOf(folder: string, model: string): Promise<readonly Question[]> {
  const data = await mkdtemp(join(tmpdir(), "mos-study-tydiqa-"));
  try {
    await mkdir(join(data, "tydiqa"));
    for (const language of LANGUAGES)
      await copyFile(join(folder, `${language}-train.json`), join(data, "tydiqa", `${language}-dev.json`));
    await using files = await openModel(model);
    const text = await loadModelText(files.source);
    const asked = { rules: "open-instruct", format: "model", shots: 0, seed: 0, text } as const;
    return (await benchmarkOf("tydiqa").questions(data, asked)).questions;
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}

/** The prompt ends with the lead-in, such as "Answer:", and the model goes on with a blank and the answer. */
const lineOf = ({ prompt, references }: Question): string =>
  JSON.stringify({ prompt, completion: ` ${references[0] ?? ""}` });

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      data: { type: "string" },
      model: { type: "string" },
      out: { type: "string" },
      tuning: { type: "string", default: "300" },
      "held-out": { type: "string", default: "400" },
      // two questions fit in a row of 512 tokens
      "most-tokens": { type: "string", default: "256" },
      seed: { type: "string", default: "0" },
    },
  });
  const { data, model, out } = values;
  if (data === undefined || model === undefined || out === undefined)
    throw new MosError("bad_option", "give --data, --model and --out");
  const documents = await documentsOf(data);
  const parts = splitDocuments([...documents.values()], {
    tuning: Number(values.tuning),
    heldOut: Number(values["held-out"]),
    seed: Number(values.seed),
  });
  const lines: Record<SplitName, string[]> = { train: [], tuning: [], "held-out": [] };
  let long = 0;
  for (const question of await questionsOf(data, model)) {
    const part = parts.get(documents.get(question.id.replace(/^tydiqa\//, "")) ?? "");
    if (part === undefined) throw new MosError("bad_data", `${question.id} has no document`);
    if (question.tokens.length > Number(values["most-tokens"])) long++;
    else lines[part].push(lineOf(question));
  }
  await mkdir(out, { recursive: true });
  for (const [part, of] of Object.entries(lines)) {
    // measured on are the first lines of a file, so languages are mixed
    const order = randomStream(Number(values.seed), `study.tydiqa.${part}`).permutation(of.length);
    await writeFileAtomic(join(out, `${part}.jsonl`), [...order].map((i) => `${of[i]}\n`).join(""));
    console.log(`${part}: ${of.length} questions`);
  }
  console.log(`${long} questions of more than ${values["most-tokens"]} tokens left out`);
}

if (process.argv[1] === import.meta.filename) await main();
