// The commands that the documents show: found in their ```sh blocks, told apart, and checked without being run.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { settingInfo } from "mixture-of-shards-core/common";
import { createProgram, loadCommands } from "../../packages/mos/src/cli/program.ts";

const commands = await loadCommands();
const program = createProgram(commands);
for (const command of program.commands) {
  const spec = commands.get(command.name());
  for (const option of command.options) {
    const setting = spec?.options[option.attributeName()];
    // where no other source may have it, as the command itself looks for it when it runs
    if (setting !== undefined && spec?.configurable === undefined)
      option.makeOptionMandatory(settingInfo(setting).isRequired);
  }
  command.action(() => undefined);
}

export interface ShownCommand {
  /** File and line, for messages. */
  readonly where: string;
  readonly text: string;
}

const markdownIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && !/(^|\/)(node_modules|dist|test)\//.test(name))
    .sort()
    .map((name) => `${folder}/${name}`);

/** Every document of the repository, in the order in which a person reads them. */
export const documents = (): readonly string[] => [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...markdownIn("packages"),
  ...markdownIn("docs"),
];

/** A report of measurements that took hours: its commands stay as they were typed, and are read but not run. */
export const isReport = (path: string): boolean => /^docs\/(results\/|explanation\/study\.md)/.test(path);

export interface Block {
  readonly language: string;
  /** Line of the file where the content begins, from 1. */
  readonly line: number;
  readonly content: string;
}

export function readBlocks(markdown: string): readonly Block[] {
  return [...markdown.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((found) => ({
    language: found[1] ?? "",
    line: markdown.slice(0, found.index).split("\n").length + 1,
    content: found[2] ?? "",
  }));
}

/** One command for each line of the sh blocks; a line that ends with a backslash goes on in the next. */
export function commandsIn(path: string): readonly ShownCommand[] {
  return readBlocks(readFileSync(path, "utf8"))
    .filter(({ language }) => language === "sh")
    .flatMap(({ line, content }) =>
      content
        .replace(/\\\n\s*/g, " ")
        .split("\n")
        .map((text, i) => ({
          where: `${path}:${line + i}`,
          text: text.replace(/(^|\s)#\s.*$/, "").trim(),
        })),
    )
    .filter(({ text }) => text !== "");
}

/** The words of a command as a shell splits them; of a pipe its last part. */
export function splitWords(text: string): readonly string[] {
  const words = [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    (found) => found[1] ?? found[2] ?? found[3] ?? "",
  );
  return words.slice(words.lastIndexOf("|") + 1);
}

const scripts = (): Readonly<Record<string, string>> =>
  (JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> }).scripts;

/** Places of blocks that show a command and are not marked as such, so that they are not checked. */
export const unmarkedCommands = (path: string): readonly string[] =>
  readBlocks(readFileSync(path, "utf8"))
    .filter(({ language, content }) => language === "" && /^(npm run|mos|python) /m.test(content))
    .map(({ line }) => `${path}:${line}`);

/** What is wrong with a command of ours, by the parser that it would meet; undefined if nothing is. */
function flawOfMos(args: readonly string[]): string | undefined {
  try {
    program.parse(args, { from: "user" });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** An npm script must exist, its file must know each option that is given to it, and be given those that its usage demands. */
function flawOfScript(name: string, args: readonly string[]): string | undefined {
  const command = scripts()[name];
  if (command === undefined) return `package.json has no script ${name}`;
  const file = command.split(" ").find((word) => word.endsWith(".ts"));
  const text = readFileSync(file ?? "package.json", "utf8");
  const unknown = args.find((arg) => arg.startsWith("--") && arg !== "--" && !text.includes(arg.slice(2)));
  if (unknown !== undefined) return `${file} has no option ${unknown}`;
  const [, needed] = /usage: \S+ -- (--[a-z-]+)/.exec(text) ?? [];
  return needed === undefined || args.includes(needed) ? undefined : `${file} needs ${needed}`;
}

/** Programs that are not ours, and what they are shown with. */
const OTHERS = new Set([
  ...["npx vitest", "npx biome", "npx esbuild", "npx tsx"],
  ...[
    "pip download",
    "unzip -q",
    "npm ci",
    "npm test",
    "npm pack",
    "npm init",
    "npm pkg",
    "git clone",
    "cp -r",
    "bash .ci/run",
    "bash .ci/full",
  ],
  ...[
    "docker build",
    "docker push",
    "docker compose",
    "kubectl apply",
    "cp -t",
    "mkdir -p",
    "mv keys.jsonl",
    "node node_modules/onnxruntime-node/script/install",
    "npm install",
    "npm link",
    "printf %s",
    "llama-server --model",
    "llama-export-lora -m",
    "ollama create",
    "ollama run",
    "mv acme-merged.gguf",
    "nginx -c",
    "vllm serve",
  ],
]);

/** Of the page on bundlers, which scripts/ci/stranger.sh runs. */
for (const folder of ["bundle", "whole"]) {
  for (const program of ["generate", "server"]) OTHERS.add(`node ${folder}/${program}.js`);
}

/** The address of a server in the documents. */
export const SERVER = "http://127.0.0.1:8080";

/** A request must be to a route that a file of the server declares. */
function flawOfRequest(path: string): string | undefined {
  const routes = "packages/server/src/routes";
  const isDeclared = readdirSync(routes).some((file) =>
    readFileSync(`${routes}/${file}`, "utf8").includes(JSON.stringify(path)),
  );
  return isDeclared ? undefined : `the server has no route ${path}`;
}

/** What is wrong with a shown command, without running it. Of commands joined by && the first flaw. */
export const findFlaw = (text: string): string | undefined =>
  text
    .split("&&")
    .map(flawOfOne)
    .find((flaw) => flaw !== undefined);

function flawOfOne(text: string): string | undefined {
  const words = splitWords(text).filter((word) => !/^[A-Z_]+=/.test(word)); // VARIABLE=value command
  const [first = "", second = "", third = "", ...rest] = words;
  if (first === "mos") return flawOfMos(words.slice(1));
  if (first === "docker" && words.includes("run")) return flawOfMos(words.slice(words.indexOf("server") + 1));
  if (first === "npm" && second === "run") return flawOfScript(third, rest);
  const file = words.find((word) => /^(scripts|bench|docs|examples)\/.*\.(ts|mjs|py|sh)$/.test(word));
  if (file !== undefined) return existsSync(file) ? undefined : `${file} does not exist`;
  if (first === "curl" && second.startsWith(SERVER)) return flawOfRequest(second.slice(SERVER.length));
  const name = `${first} ${second}`;
  return OTHERS.has(name) || first === "cd"
    ? undefined
    : `"${name}" is not checked; add it to scripts/ci/commands.ts`;
}

const LOCAL = /^(assets|test)\//;

/** Whether a command needs nothing but this repository, so that it can be run here and now. */
export function runsHere(text: string): boolean {
  const words = splitWords(text);
  if (words[0] === "npm") return words[1] === "run" && words[2] === "goldens";
  if (words[0] === "cp") return words.some((word) => LOCAL.test(word));
  if (words[0] !== "mos") return false;
  if (["pull", "push", "quickstart"].includes(words[1] ?? "")) return false;
  if (words[1] === "adapters") return false; // of runs that a reader has made
  // else a teacher is asked, or about its answers
  if (words[1] === "data") return words.some((word) => LOCAL.test(word) || word === "--dry-run");
  const files = words.filter((_, i) =>
    /^--(model|data|validation-data|config|file)$/.test(words[i - 1] ?? ""),
  );
  if (words[1] === "eval" && !words.includes("--data")) return false; // it would be fetched
  return files.every((file) => LOCAL.test(file));
}
