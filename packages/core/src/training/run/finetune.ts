// A run from its options to its adapter, in steps that each take what the one before gives: options, plan, load, train, record.
import { z } from "zod";
import { lockFolder } from "#files";
import { basename, resolve } from "#platform";
import { readRecord } from "../run-record.ts";
import { type FinetuneEvent, modelSummary } from "./events.ts";
import { chooseRunPath, lockRun, refuseUsed } from "./folder.ts";
import { loadRun } from "./load.ts";
import { checkRunOptions, type FinetuneOptions } from "./options.ts";
import { planRun } from "./plan.ts";
import { trainRun } from "./train.ts";

/**
 * Fine-tunes an adapter and saves it in `out` in PEFT's folder layout, with metrics.jsonl, the best adapter by validation
 * loss, and checkpoints that `resume` continues to the same bytes. Aborting the signal saves and ends. A run that replaces
 * or extends a complete adapter lives in a hidden folder beside it, and takes its place in one move when it is complete.
 * Throws MosError: `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage`, `diverged`, `cancelled`.
 *
 * @example
 * for await (const event of finetune({
 *   model: "assets/tiny-english",
 *   data: "assets/quickstart/train.jsonl",
 *   out: "adapters/tenant",
 *   adapter: { method: "mos", equivalentRank: 2, rank: 6 },
 * }))
 *   if (event.type === "step") console.log(event.step, event.loss);
 */
export async function* finetune(options: FinetuneOptions): AsyncGenerator<FinetuneEvent, void> {
  checkRunOptions("finetune", options, { out: z.string() });
  const { resume = false, overwrite = false } = options;
  const out = /^\.*$/.test(basename(options.out)) ? resolve(options.out) : options.out;
  const place = await chooseRunPath(out, { resume, overwrite });
  // asked before minutes of loading and encoding, and again when the folder is taken
  if (!resume) await refuseUsed(place, overwrite);
  // an adapter that will be replaced stays in use, and no other run may replace it meanwhile
  await using _adapter = place === out ? undefined : await lockFolder(out);
  await using _run = resume ? await lockRun(place) : undefined;
  const before = resume ? await readRecord(place) : undefined;
  const plan = yield* planRun(options, before);
  const { memory, free } = plan;
  const { rematerialise } = memory;
  yield { type: "memory", model: modelSummary(plan), plan: memory.plan, free, rematerialise };
  yield* trainRun(await loadRun(plan, { ...options, out, place, before }), options);
}
