// Fine-tuning as a service on the bundled model, with its state in .mos/service, and the lines that use it.
// usage: npm run service [-- options of mos serve]
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

const [, ...lines] = readFileSync("examples/fine-tuning.ts", "utf8").split("\n");
console.log(`In another terminal, when the server listens (about half a minute of training, then an answer):

  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none npx tsx examples/fine-tuning.ts

That program is:

${lines.map((line) => `  ${line}`).join("\n")}`);

const args = ["serve", "--model", "assets/tiny-english", "--model-name", "tiny", "--state", ".mos/service"];
const child = spawn(process.execPath, ["dist/cli/main.js", ...args, ...process.argv.slice(2)], {
  stdio: "inherit",
});
// both get Ctrl-C; the server ends when its jobs are at a checkpoint
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
