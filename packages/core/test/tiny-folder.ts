// A tiny model's folder with the bundled tokenizer, and a few lines of the bundled data.

import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTinyModel } from "./tiny-model.ts";

export interface TinyFolder {
  readonly model: string;
  readonly data: string;
}

/** Sizes that fit the bundled tokenizer. */
const SIZES = {
  vocab_size: 1024,
  vocab_size_per_layer_input: 1024,
  max_position_embeddings: 128,
  bos_token_id: 0,
  eos_token_id: 2,
};

/**
 * Writes `model/` (a vocabulary of 1024, 128 positions) and `train.jsonl` (24 conversations) into a folder. `family` replaces
 * fields of config.json.
 */
export async function writeTinyFolder(folder: string, family: object = {}): Promise<TinyFolder> {
  const model = join(folder, "model");
  await writeTinyModel(model, { overrides: { ...family, ...SIZES } });
  for (const name of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(join("assets/tiny-english", name), join(model, name));
  const lines = (await readFile("assets/quickstart/train.jsonl", "utf8")).split("\n");
  const data = join(folder, "train.jsonl");
  await writeFile(data, `${lines.slice(0, 24).join("\n")}\n`);
  return { model, data };
}
