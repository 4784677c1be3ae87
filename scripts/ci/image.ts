// The steps of deploy/Dockerfile without a container, where there is none to be had: the files and commands of its first
// stage in a folder, and of the second what it takes of the first. Then mos serve runs from there as a user who may write
// nothing of it, the health check is tried, and SIGTERM ends it.
// usage: image.ts   (Linux; as root, for the other user)
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** The instructions of each stage. */
const stages = readFileSync("deploy/Dockerfile", "utf8")
  .replace(/^#.*\n/gm, "")
  .replace(/\\\n\s*/g, " ")
  .split(/^(?=FROM )/m)
  .map((stage) =>
    stage
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line): Instruction => {
        const [name = "", ...rest] = line.trim().split(" ");
        return { name, rest: rest.join(" ") };
      }),
  )
  .filter((stage) => stage.length > 0);

const files = execFileSync("git", ["ls-files"], { encoding: "utf8" })
  .split("\n")
  .filter((path) => path !== "" && !path.endsWith(".test.ts"));

/** A path that is copied, and its place in the image. */
type Copied = readonly [source: string, target: string];

/** Docker puts what is in a folder into the target, and single files under their names. */
function copiedOf(rest: string): readonly Copied[] {
  const words = rest.split(" ").filter((word) => !word.startsWith("--"));
  const target = words.at(-1) ?? "";
  return words
    .slice(0, -1)
    .flatMap((source) =>
      files.includes(source)
        ? [[source, target.endsWith("/") ? join(target, source.split("/").at(-1) ?? "") : target] as const]
        : files
            .filter((path) => path.startsWith(`${source}/`))
            .map((path) => [path, join(target, path.slice(source.length))] as const),
    );
}

function build(app: string): void {
  for (const { name, rest } of stages[0] ?? []) {
    if (name === "COPY")
      for (const [source, target] of copiedOf(rest)) {
        mkdirSync(dirname(join(app, target)), { recursive: true });
        cpSync(source, join(app, target));
      }
    if (name !== "RUN") continue;
    console.log(`$ ${rest}`);
    execFileSync("sh", ["-c", rest], { cwd: app, stdio: ["ignore", "ignore", "inherit"] });
  }
}

function assemble(built: string, app: string): void {
  for (const { name, rest } of stages[1] ?? []) {
    if (name !== "COPY") continue;
    const [source = "", target = ""] = rest.split(" ").filter((word) => !word.startsWith("--"));
    const from = rest.startsWith("--from=build") ? join(built, source.replace(/^\/app\//, "")) : source;
    const to = target.endsWith("/") ? join(app, target, source.split("/").at(-1) ?? "") : join(app, target);
    cpSync(from, to, { recursive: true, verbatimSymlinks: true });
  }
}

/** Nobody, whose files are none of the image's. */
const NOBODY = 65_534;
const IS_ROOT = process.getuid?.() === 0;

/** A command of the image as another user. */
function asOther(command: string, args: readonly string[], temporary: string): ChildProcess {
  return spawn(command, [...args], {
    cwd: "/",
    env: { PATH: process.env["PATH"], TMPDIR: temporary },
    stdio: ["ignore", "pipe", "inherit"],
    ...(IS_ROOT ? { uid: NOBODY, gid: NOBODY } : {}),
  });
}

async function serve(app: string, temporary: string): Promise<void> {
  const instruction = (wanted: string): string =>
    stages[1]?.find(({ name }) => name === wanted)?.rest ?? assert.fail(`the image has no ${wanted}`);
  const [node = "", main = ""] = JSON.parse(instruction("ENTRYPOINT")) as string[];
  const args = ["serve", "--model", join(app, "assets/tiny-english"), "--port", "0", "--json", "--quiet"];
  const server = asOther(
    node,
    [join(app, main.replace(/^\/app\//, "")), ...args, "--state", join(temporary, "state")],
    temporary,
  );
  const [line] = (await once(createInterface(server.stdout ?? assert.fail()), "line")) as [string];
  const { address } = JSON.parse(line) as { address: string };
  const check = JSON.parse(instruction("HEALTHCHECK").replace(/^.*? CMD /, "")) as string[];
  const healthCheck = async (place: string): Promise<number | null> => {
    const [program = "", ...rest] = check.map((word) => word.replace("http://127.0.0.1:8080", place));
    const [code] = (await once(asOther(program, rest, temporary), "exit")) as [number | null];
    return code;
  };
  assert.equal(await healthCheck(address), 0);
  assert.equal(await healthCheck("http://127.0.0.1:1"), 1);
  server.kill("SIGTERM");
  assert.deepEqual(await once(server, "exit"), [0, null]);
}

const folder = mkdtempSync(join(tmpdir(), "mos-image-"));
try {
  const [built, app, temporary] = [join(folder, "build"), join(folder, "app"), join(folder, "tmp")];
  chmodSync(folder, 0o755);
  for (const path of [built, app, temporary]) mkdirSync(path);
  chmodSync(temporary, 0o777);
  build(built);
  assemble(built, app);
  const [size] = execFileSync("du", ["-sm", app], { encoding: "utf8" }).split("\t");
  console.log(`the image has ${size} MB beside node:20-slim`);
  await serve(app, temporary);
  console.log(
    `it serves as ${IS_ROOT ? "another" : "this"} user, its health check sees that, and SIGTERM ends it`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
