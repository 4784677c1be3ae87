// Runs the commands of all documents that need nothing but the bundled model, in their order and each document in a folder
// of its own; checks the others with the parsers that they would meet.
// usage: npm run documents [-- docs/tutorial.md ...]
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import {
  commandsIn,
  documents,
  findFlaw,
  isReport,
  runsHere,
  SERVER,
  type ShownCommand,
} from "./commands.ts";

const root = resolve(".");

/** A folder with the command `mos`, as `npm link` would put it on the path. */
const bin = mkdtempSync(join(tmpdir(), "mos-bin-"));
symlinkSync(resolve("packages/mos/dist/cli/main.js"), join(bin, "mos"));
const env = { ...process.env, PATH: `${bin}:${process.env["PATH"]}` };

interface RunningServer {
  readonly child: ChildProcess;
  readonly address: string;
}

/** A document's server, which runs until the document ends; the requests that it shows are sent to it. */
let server: RunningServer | undefined;

async function startServer(folder: string, text: string): Promise<RunningServer | undefined> {
  const child = spawn("bash", ["-c", `exec ${text} --port 0`], { cwd: folder, env });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (data: string) => {
      output += data;
    });
  while (child.exitCode === null) {
    const address = /http:\/\/[\w.:]+(?=\/v1)/.exec(output)?.[0];
    if (address !== undefined) return { child, address };
    await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
  }
  console.log(output);
  return undefined;
}

async function stopServer(): Promise<void> {
  if (server === undefined) return;
  server.child.kill();
  await once(server.child, "exit");
  server = undefined;
}

const isServer = (text: string): boolean => /\b(serve|studio)\b/.test(text);
const isRequest = (text: string): boolean => text.startsWith("curl ");

function runCommand(folder: string, text: string): boolean {
  const command = text
    .replace(/^curl /, "curl --fail-with-body ")
    .replaceAll(SERVER, server?.address ?? SERVER);
  const { status, stdout, stderr } = spawnSync("bash", ["-euo", "pipefail", "-c", command], {
    cwd: text.startsWith("npm ") ? root : folder,
    encoding: "utf8",
    env,
    input: "",
  });
  if (status !== 0) console.log(`exit code ${status}\n${stdout}\n${stderr}`);
  return status === 0;
}

async function runIn(folder: string, { where, text }: ShownCommand): Promise<boolean> {
  const started = performance.now();
  if (isServer(text)) server = await startServer(folder, text);
  const passed = isServer(text) ? server !== undefined : runCommand(folder, text);
  console.log(
    `${passed ? "ran " : "FAIL"}  ${where}  ${text} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
  return passed;
}

const isRun = ({ where, text }: ShownCommand): boolean =>
  (runsHere(text) || (isRequest(text) && server !== undefined)) && !isReport(where);

function check({ where, text }: ShownCommand): boolean {
  const flaw = findFlaw(text);
  if (flaw !== undefined || !isRun({ where, text }))
    console.log(
      `${flaw === undefined ? "read" : "FAIL"}  ${where}  ${text}${flaw === undefined ? "" : `: ${flaw}`}`,
    );
  return flaw === undefined;
}

let passed = 0;
let failed = 0;
const chosen = process.argv.slice(2);
for (const document of chosen.length > 0 ? chosen : documents()) {
  const folder = mkdtempSync(join(tmpdir(), "mos-documents-"));
  for (const name of ["assets", "test"]) symlinkSync(resolve(name), join(folder, name));
  for (const command of commandsIn(document)) {
    const fine = check(command) && (!isRun(command) || (await runIn(folder, command)));
    if (fine) passed++;
    else failed++;
  }
  await stopServer();
  rmSync(folder, { recursive: true, force: true });
}
rmSync(bin, { recursive: true, force: true });
console.log(`${passed} commands passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
