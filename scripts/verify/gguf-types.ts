// Whether a base kept as its file stores it trains as its float32 expansion does: logits, loss and all gradients of a MoS
// adapter, for each file of scripts/verify/gguf_types.py.
// usage: node --conditions=source --import tsx scripts/verify/gguf-types.ts FILE... [--tokens N] [--json]
// Exits with 1 where a difference is above 1e-4 of the largest number.
import { basename } from "node:path";
import { parseArgs } from "node:util";
import { loadText } from "mixture-of-shards-core/models";
import { compareStored } from "../../packages/core/test/stored-base.ts";

const LIMIT = 1e-4;
const TEXT =
  "A lighthouse is a tower that shows ships at sea where they are. Its lamp turns once in a fixed number of seconds, so " +
  "that a sailor who counts them knows which of the lights along the coast it is, and how far off the rocks are.";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { tokens: { type: "string", default: "48" }, json: { type: "boolean", default: false } },
});
if (positionals.length === 0) throw new Error("usage: gguf-types.ts FILE... [--tokens N] [--json]");

const short = (share: number): string => share.toExponential(1).padStart(9);
if (!values.json) console.log("file             loss     logits      loss gradients");
for (const path of positionals) {
  const { tokenizer } = await loadText(path);
  const tokens = tokenizer.encode(TEXT).slice(0, Number(values.tokens));
  const { loss, differences } = await compareStored(path, tokens);
  const { logits, loss: ofLoss, gradients } = differences;
  const name = basename(path);
  if (values.json) console.log(JSON.stringify({ file: name, loss, differences }));
  else
    console.log(
      `${name.padEnd(16)} ${loss.toFixed(4)} ${short(logits)} ${short(ofLoss)} ${short(gradients)}`,
    );
  if (!(Math.max(logits, ofLoss, gradients) <= LIMIT)) process.exitCode = 1;
}
