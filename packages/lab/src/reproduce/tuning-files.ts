// Data that learning rates are chosen on: a part of the training file that is held out while tuning, or files of its own. It is
// never what a row is measured on.
import { join } from "node:path";
import { MosError, readDataset, splitValidation } from "mixture-of-shards";
import { makeFolder, readJsonLines, writeFileAtomic } from "mixture-of-shards-core/files";
import { fileDigest } from "./digest.ts";
import type { ReproduceOptions, Settings } from "./settings.ts";

/** The files of tuning cells, the same for all rows. */
type TuningPlan = Awaited<ReturnType<typeof planTuning>>;

/** No grid has as many seeds, so no row is measured with a seed that its rate was chosen with. */
const FIRST_SEED = 1_000_003;
const SHARE = 0.1;
const MAX_EXAMPLES = 64;

interface Known {
  /** Examples of the training file. */
  readonly train: number;
  readonly digests: { readonly train: string; readonly evaluation: string };
}

/** Throws `bad_option` where too few examples are left, or where rates would be chosen on what is measured on. */
export async function planTuning(options: ReproduceOptions, settings: Settings, known: Known) {
  const seeds = Array.from({ length: settings.tuneSeeds }, (_, i) => FIRST_SEED + i);
  const { tuneTrain, tuneEvaluation } = options;
  if (tuneEvaluation !== undefined) return { seeds, ...(await ownFiles(options, settings, known)) };
  if (tuneTrain !== undefined)
    throw new MosError("bad_option", "tuneTrain requires tuneEvaluation; give both");
  const examples = countTuningExamples(settings, known.train);
  const folder = join(options.out, "tuning");
  return {
    seeds,
    files: { train: join(folder, "train.jsonl"), validation: join(folder, "validation.jsonl") },
    /** Number of examples to evaluate on, from the first of the file. */
    examples,
    /** True if the files are split off the training file. */
    isSplit: settings.learningRates.length > 1,
    /** Identity of the files' contents. */
    identity: { train: known.digests.train, validation: { validation: examples, seed: FIRST_SEED } },
  };
}

async function ownFiles(
  { train, tuneTrain = train, tuneEvaluation: validation = "" }: ReproduceOptions,
  { tuneExamples }: Settings,
  { digests }: Known,
) {
  if (tuneTrain !== train) await readDataset(tuneTrain);
  const all = (await readDataset(validation)).examples.length;
  const digest = { train: await fileDigest(tuneTrain), validation: await fileDigest(validation) };
  if (digest.validation === digests.evaluation)
    throw new MosError(
      "bad_option",
      `${validation} is also the test data; choose learning rates on other examples`,
    );
  if (digest.validation === digest.train)
    throw new MosError(
      "bad_option",
      `${validation} and ${tuneTrain} have the same contents; tune on other examples`,
    );
  const examples = Math.min(all, tuneExamples ?? all);
  return {
    files: { train: tuneTrain, validation },
    examples,
    isSplit: false,
    identity: { train: digest.train, validation: { file: digest.validation, examples } },
  };
}

/** Something has to be left to train on, where there is a rate to choose. */
function countTuningExamples({ training, tuneExamples, learningRates }: Settings, count: number): number {
  const examples = Math.min(count, training.maxExamples ?? count);
  const held = tuneExamples ?? Math.max(1, Math.min(MAX_EXAMPLES, Math.floor(examples * SHARE)));
  if (learningRates.length > 1 && held >= examples)
    throw new MosError(
      "bad_option",
      `tuneExamples: ${held} of ${examples} training examples leave none to choose learning rates with; use fewer, or one learning rate`,
    );
  return held;
}

/** Writes the two parts of the training file, where rates are chosen on a part of it. */
export async function writeTuningFiles(
  { train: source, out }: Pick<ReproduceOptions, "train" | "out">,
  { training }: Settings,
  { files, examples, isSplit }: TuningPlan,
): Promise<void> {
  if (!isSplit) return;
  const lines: string[] = [];
  for await (const { value } of readJsonLines(source)) lines.push(JSON.stringify(value));
  const { train, validation } = splitValidation(lines.slice(0, training.maxExamples), {
    seed: FIRST_SEED,
    count: examples,
  });
  await makeFolder(join(out, "tuning"));
  await writeFileAtomic(files.train, `${train.join("\n")}\n`);
  await writeFileAtomic(files.validation, `${validation.join("\n")}\n`);
}
