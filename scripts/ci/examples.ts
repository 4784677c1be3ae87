// Runs the examples as a user of the package would, on what `npm run build` made, and checks what they print.
// usage: npm run examples
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What each example has to say. An example without a line here fails. */
const EXPECTED: Readonly<Record<string, readonly RegExp[]>> = {
  "batch.ts": [/The keeper of the lighthouse/, /In the morning/],
  "budget.ts": [/^lora: 70080 numbers, 280320 bytes, ratio 1\.000$/m, /^mos: 23360 numbers/m],
  "constrain.ts": [/^(Paris|Rome), ([1-9]|1[0-4]) days$/m],
  "data.ts": [/^36 examples, 12 updates, \d+ tokens trained$/m, /^step 12: validation loss \d/m],
  "evaluate.ts": [/^base\t\d of 3$/m, /^{ exact_match: 1 }$/m],
  "fine-tuning.ts": [/^ft:tiny:anybody::\w{8}: .*Clara/m],
  "finetune.ts": [/^validation loss/m, /^200 /m, /Clara/],
  "generate.ts": [/\(\d+ tokens, (end|length)\)\n.*\(\d+ tokens, (end|length)\)/s],
  "gradients.ts": [/^inputs x, w$/m, /^gradient 3 × 2$/m],
  "server.ts": [
    /^serving at http:\/\/127\.0\.0\.1:\d+\/v1$/m,
    /"object":"text_completion".*"completion_tokens":\d/,
  ],
  "stream.ts": [/A boat leaves at one\..*lighthouse shows ships the way\./s],
  "tools.ts": [/^\{ day: '(Saturday|Sunday)', people: -?\d+ \} \[$/m, /name: 'book_table'/],
};

/** A service for the example that is a client, on any port. */
async function startService() {
  const state = mkdtempSync(join(tmpdir(), "mos-example-"));
  const model = ["--model", "assets/tiny-english", "--model-name", "tiny"];
  const child = spawn(
    "node",
    [
      "packages/mos/dist/cli/main.js",
      "serve",
      ...model,
      "--state",
      state,
      "--port",
      "0",
      "--json",
      "--quiet",
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const [line] = (await once(createInterface(child.stdout), "line")) as [string];
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    await once(child, "exit");
    rmSync(state, { recursive: true });
  };
  return { address: (JSON.parse(line) as { address: string }).address, stop };
}

const service = await startService();
const env = { ...process.env, OPENAI_BASE_URL: `${service.address}/v1`, OPENAI_API_KEY: "none" };
let failed = 0;
const examples = readdirSync("examples").filter((name) => name.endsWith(".ts"));
for (const name of examples) {
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync("node", ["--import", "tsx", `examples/${name}`], {
    encoding: "utf8",
    env,
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
await service.stop();
console.log(`${examples.length - failed} examples passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
