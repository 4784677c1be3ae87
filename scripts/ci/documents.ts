// Runs the commands of all documents that need nothing but the bundled model, in their order and each document in a folder
// of its own; checks the others with the parsers that they would meet.
// usage: npm run documents
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { commandsIn, documents, flawOf, isReport, runsHere, type ShownCommand } from "./commands.ts";

const MOS = `node ${JSON.stringify(resolve("dist/cli/main.js"))}`;
const root = resolve(".");

function runIn(folder: string, { where, text }: ShownCommand): boolean {
  const npm = text.startsWith("npm ");
  const started = performance.now();
  const command = text.replace(/\bnpx (mos|mixture-of-shards)\b/g, MOS);
  const { status, stdout, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", command], {
    cwd: npm ? root : folder,
    encoding: "utf8",
    input: "",
  });
  const passed = status === 0;
  console.log(
    `${passed ? "ran " : "FAIL"}  ${where}  ${text} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
  if (!passed) console.log(`exit code ${status}\n${stdout}\n${stderr}`);
  return passed;
}

const isRun = ({ where, text }: ShownCommand): boolean => runsHere(text) && !isReport(where);

function check({ where, text }: ShownCommand): boolean {
  const flaw = flawOf(text);
  if (flaw !== undefined || !isRun({ where, text }))
    console.log(
      `${flaw === undefined ? "read" : "FAIL"}  ${where}  ${text}${flaw === undefined ? "" : `: ${flaw}`}`,
    );
  return flaw === undefined;
}

let passed = 0;
let failed = 0;
for (const document of documents()) {
  const folder = mkdtempSync(join(tmpdir(), "mos-documents-"));
  for (const name of ["assets", "test"]) symlinkSync(resolve(name), join(folder, name));
  for (const command of commandsIn(document)) {
    const fine = check(command) && (!isRun(command) || runIn(folder, command));
    if (fine) passed++;
    else failed++;
  }
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${passed} commands passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
