// A fine-tuning run in a process of its own, to be killed: <model> <data> <out> and "resume" to continue.

import { finetune } from "#training";
import { killable } from "./finetune-options.ts";

const [model = "", data = "", out = "", resume] = process.argv.slice(2);
for await (const event of finetune({ ...killable, model, data, out, resume: resume === "resume" }))
  process.stdout.write(`${event.type}\n`);
