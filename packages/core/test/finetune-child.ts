// A fine-tuning run in a process of its own, to be killed: <model> <data> <out>, "resume" to continue; the data may be a kind
// of `killableBy`.

import { finetune } from "#training";
import { killable, killableBy } from "./finetune-options.ts";

const [model = "", data = "", out = "", resume] = process.argv.slice(2);
const chosen = killableBy[data] ?? { ...killable, data };
for await (const event of finetune({ ...chosen, model, out, resume: resume === "resume" }))
  process.stdout.write(`${event.type}\n`);
