// A fine-tuning run in a process of its own, to be killed: <model> <data> <out>, "resume" to continue; the data "pairs" are
// pairs of answers.

import { finetune } from "#training";
import { killable, killablePairs } from "./finetune-options.ts";

const [model = "", data = "", out = "", resume] = process.argv.slice(2);
const chosen = data === "pairs" ? killablePairs : { ...killable, data };
for await (const event of finetune({ ...chosen, model, out, resume: resume === "resume" }))
  process.stdout.write(`${event.type}\n`);
