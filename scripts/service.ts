// Fine-tuning as a service on the bundled model, with its state in .mos/service, and the lines that use it.
// usage: npm run service [-- options of mos serve]
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

const state = ["--state", ".mos/service"];
const asked = process.argv.slice(2);
const swallowed = process.env["npm_config_port"];
if (swallowed !== undefined) {
  const port = swallowed === "true" ? (asked[0] ?? "8080") : swallowed; // of "--port 8080" npm leaves the number
  console.error(`npm took --port for itself; type npm run service -- --port ${port}`);
  process.exit(2);
}
const hasPlace = asked.some((option) => /^--(state|database-url)(=|$)/.test(option));
const args = ["serve", "--model", "assets/tiny-english", "--model-name", "tiny", ...(hasPlace ? [] : state)];
const child = spawn(process.execPath, ["packages/mos/dist/cli/main.js", ...args, ...asked], {
  stdio: ["inherit", "pipe", "inherit"],
});
let said = "";
child.stdout.on("data", (data: Buffer) => {
  process.stdout.write(data);
  if (said === "listening") return;
  said += data;
  // what is printed when the server listens, as text or with --json
  const address = /\baddress"?[\s:]+"?(https?:\/\/[^\s"]+)[\s"]/.exec(said)?.[1];
  if (address === undefined) return;
  said = "listening";
  explain(address.replace(/\/v1$/, ""));
});

function explain(address: string): void {
  const [, ...lines] = readFileSync("examples/fine-tuning.ts", "utf8").split("\n");
  console.error(`
In another terminal (about half a minute of training, then an answer):

  OPENAI_BASE_URL=${address}/v1 OPENAI_API_KEY=none npx tsx examples/fine-tuning.ts

That program is:

${lines.map((line) => `  ${line}`).join("\n")}`);
}

// both get Ctrl-C; the server ends when its jobs are at a checkpoint
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
