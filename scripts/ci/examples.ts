// Runs the examples as a user of the package would, on what `npm run build` made, and checks what they print.
// usage: npm run examples
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";

/** What each example has to say. An example without a line here fails. */
const EXPECTED: Readonly<Record<string, readonly RegExp[]>> = {
  "budget.ts": [/^lora: 70080 numbers, 280320 bytes, ratio 1\.000$/m, /^mos: 23360 numbers/m],
  "evaluate.ts": [/^base\t\d+\.\d\d\t\d+\.\d\d$/m, /^{ exact_match: 1 }$/m],
  "finetune.ts": [/^held-out loss/m, /^60 /m, /keeper/],
  "generate.ts": [/\(\d+ tokens, (end|length)\)\n.*\(\d+ tokens, (end|length)\)/s],
  "gradients.ts": [/^inputs x, w$/m, /^gradient 3 × 2$/m],
  "serve.ts": [/The keeper of the lighthouse/, /In the morning/],
};

let failed = 0;
const examples = readdirSync("examples").filter((name) => name.endsWith(".ts"));
for (const name of examples) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync("node", ["--import", "tsx", `examples/${name}`], {
    encoding: "utf8",
  });
  const missing = (EXPECTED[name] ?? [/a line in scripts\/ci\/examples\.ts/]).filter(
    (line) => !line.test(stdout),
  );
  const passed = status === 0 && missing.length === 0;
  console.log(
    `${passed ? "pass" : "FAIL"}  examples/${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
  if (passed) continue;
  failed++;
  console.log(`exit code ${status}, not found: ${missing.join(", ") || "nothing"}\n${stdout}\n${stderr}`);
}
console.log(`${examples.length - failed} examples passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
