// Whether the fast tests notice what breaks: seeded mutants of production files, each against `npm test`.
// usage: npm run mutants -- [--seed N] [--count N] [--under FOLDER] [--json]
// The tests of a mutant's own folder come first, for all mutants, as they kill most of them in seconds; what survives them meets
// those of its package, and what survives these, all. Results are kept in .mos/mutants-SEED.jsonl: the same command goes on
// where it was stopped.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import ts from "@typescript/typescript6";
import { randomStream } from "mixture-of-shards-core/common";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: "1" },
    count: { type: "string", default: "60" },
    under: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});

/** A change of a file: its characters from `start` to `end` become `text`. */
interface Edit {
  readonly kind: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Which tests a mutant has met, and what of its path they have in theirs. */
const STAGES = {
  "its folder's": (path: string) => [`${dirname(path)}/`],
  "its package's": (path: string) => [path.split("/").slice(0, 2).join("/")],
  all: () => [],
} as const;
type Stage = keyof typeof STAGES;

type Outcome = "killed" | "survived" | "does not compile";

interface Result {
  readonly index: number;
  readonly file: string;
  readonly line: number;
  readonly kind: string;
  readonly before: string;
  readonly after: string;
  readonly outcome: Outcome;
  readonly tests: Stage;
  /** The test that failed. */
  readonly by?: string | undefined;
}

const root = resolve(".");
const random = randomStream(Number(values.seed), "mutants");

const COMPARISONS: ReadonlyMap<ts.SyntaxKind, string> = new Map([
  [ts.SyntaxKind.LessThanToken, "<="],
  [ts.SyntaxKind.LessThanEqualsToken, "<"],
  [ts.SyntaxKind.GreaterThanToken, ">="],
  [ts.SyntaxKind.GreaterThanEqualsToken, ">"],
  [ts.SyntaxKind.EqualsEqualsEqualsToken, "!=="],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, "==="],
]);

const leaves = (node: ts.Statement): boolean => {
  const last = ts.isBlock(node) ? node.statements.at(-1) : node;
  return last !== undefined && (ts.isReturnStatement(last) || ts.isThrowStatement(last));
};

/** The edits of one node. */
function editsOf(node: ts.Node, file: ts.SourceFile): readonly Edit[] {
  const replace = (kind: string, of: ts.Node, text: string): Edit => ({
    kind,
    start: of.getStart(file),
    end: of.end,
    text,
  });
  const edits: Edit[] = [];
  if (ts.isBinaryExpression(node)) {
    const flipped = COMPARISONS.get(node.operatorToken.kind);
    if (flipped !== undefined) edits.push(replace("comparison", node.operatorToken, flipped));
  }
  if (ts.isNumericLiteral(node) && /^\d+$/.test(node.text))
    edits.push(replace("off by one", node, String(Number(node.text) + 1)));
  if (ts.isExpressionStatement(node)) edits.push(replace("dropped statement", node, ";"));
  if (ts.isIfStatement(node) || ts.isConditionalExpression(node)) {
    const condition = ts.isIfStatement(node) ? node.expression : node.condition;
    edits.push(replace("negated condition", condition, `!(${condition.getText(file)})`));
  }
  if (ts.isIfStatement(node) && node.elseStatement === undefined && leaves(node.thenStatement))
    edits.push(replace("skipped check", node, ";"));
  return edits;
}

function findEdits(path: string): readonly Edit[] {
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  const edits: Edit[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node)) return;
    edits.push(...editsOf(node, file));
    ts.forEachChild(node, visit);
  };
  visit(file);
  return edits;
}

/** Says whether a file of a project still compiles when it has another text. */
function createChecker(project: string): (path: string, text: string) => boolean {
  const { config } = ts.readConfigFile(join(project, "tsconfig.json"), ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, resolve(project));
  let mutant: { readonly path: string; readonly text: string } | undefined;
  let version = 0;
  const read = (path: string) => (path === mutant?.path ? mutant.text : ts.sys.readFile(path));
  const service = ts.createLanguageService({
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    realpath: ts.sys.realpath ?? ((path) => path),
    readFile: read,
    fileExists: ts.sys.fileExists,
    getCompilationSettings: () => options,
    getCurrentDirectory: () => root,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    getScriptFileNames: () => fileNames,
    getScriptVersion: (path) => (path === mutant?.path ? String(version) : "0"),
    getScriptSnapshot: (path) => {
      const text = read(path);
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
    },
  });
  return (path, text) => {
    mutant = { path: resolve(path), text };
    version++;
    const { path: at } = mutant;
    return service.getSyntacticDiagnostics(at).length + service.getSemanticDiagnostics(at).length === 0;
  };
}

/** A copy of the tree whose files are links; a changed one has to be written anew. */
function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), "mos-mutants-"));
  const names = readdirSync(root).filter((name) => ![".git", ".mos"].includes(name));
  try {
    execFileSync("cp", ["-al", ...names, copy], { stdio: "ignore" });
  } catch {
    execFileSync("cp", ["-a", ...names, copy]); // on another disk
  }
  return copy;
}

function overwrite(path: string, text: string): void {
  rmSync(path);
  writeFileSync(path, text);
}

/** Minutes for a run of tests: a mutant may not end. */
const MINUTES = 15;

/** The first failure of a run of tests, or undefined where all pass. */
async function failureOf(copy: string, args: readonly string[]): Promise<string | undefined> {
  const fast = [
    "--project",
    "fast",
    "--tags-filter",
    "!thorough",
    "--bail",
    "1",
    "--passWithNoTests",
    "--reporter",
    "dot",
  ];
  const child = spawn("npx", ["vitest", ...args, ...fast], {
    cwd: copy,
    detached: true,
    env: { ...process.env, NO_COLOR: "1", CI: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (data: string) => {
      output += data;
    });
  const late = setTimeout(() => process.kill(-(child.pid ?? 0), "SIGKILL"), 60_000 * MINUTES);
  const [code] = await once(child, "close");
  clearTimeout(late);
  if (code === 0) return undefined;
  return /FAIL +(.*)/.exec(output)?.[1] ?? (code === null ? "time" : output.slice(-200).trim());
}

const kept = `.mos/mutants-${values.seed}${values.under.replaceAll("/", "-")}.jsonl`;
const results: Result[] = [];
for (const line of existsSync(kept) ? readFileSync(kept, "utf8").trimEnd().split("\n") : []) {
  const result: Result = JSON.parse(line);
  results[result.index] = result;
}
mkdirSync(".mos", { recursive: true });

const PRODUCTION = /^(src|packages\/[^/]+\/src)\/.*(?<!\.test|\.d)\.tsx?$/;
const candidates = execFileSync("git", ["ls-files"], { encoding: "utf8" })
  .split("\n")
  .filter((path) => PRODUCTION.test(path) && path.startsWith(values.under))
  .flatMap((path) => findEdits(path).map((edit) => ({ path, edit })));

/** The studio is a project of its own, as it knows a page. */
const STUDIO = "packages/studio";
const inStudio = createChecker(STUDIO);
const elsewhere = createChecker(".");
const compiles = (path: string, text: string): boolean =>
  (path.startsWith(`${STUDIO}/`) ? inStudio : elsewhere)(path, text);
const copy = copyTree();
try {
  const chosen = Array.from(
    { length: Number(values.count) },
    () => candidates[random.below(candidates.length)],
  );
  const stages = Object.keys(STAGES) as readonly Stage[];
  for (const [stage, tests] of stages.entries())
    for (const [index, candidate] of chosen.entries()) {
      if (candidate === undefined) throw new Error(`${values.under} has no code to change`);
      const { path, edit } = candidate;
      const earlier = results[index];
      if (earlier !== undefined && (earlier.outcome !== "survived" || stages.indexOf(earlier.tests) >= stage))
        continue;
      const source = readFileSync(path, "utf8");
      const line = source.slice(0, edit.start).split("\n").length;
      const mutated = source.slice(0, edit.start) + edit.text + source.slice(edit.end);
      const lineOf = (text: string): string => text.split("\n")[line - 1]?.trim() ?? "";
      let outcome: Outcome = "does not compile";
      let by: string | undefined;
      if (earlier !== undefined || compiles(path, mutated)) {
        overwrite(join(copy, path), mutated);
        by = await failureOf(copy, ["run", ...STAGES[tests](path)]);
        overwrite(join(copy, path), source);
        outcome = by === undefined ? "survived" : "killed";
      }
      const place = { index, file: path, line, kind: edit.kind };
      const result = { ...place, before: lineOf(source), after: lineOf(mutated), outcome, tests, by };
      results[index] = result;
      appendFileSync(kept, `${JSON.stringify(result)}\n`);
      console.error(
        `${index + 1} of ${values.count}, ${tests} tests: ${outcome}: ${path}:${line} ${edit.kind}`,
      );
    }
} finally {
  rmSync(copy, { recursive: true });
}

const count = (outcome: Outcome): number => results.filter((one) => one.outcome === outcome).length;
const tested = count("killed") + count("survived");
if (values.json) console.log(JSON.stringify({ seed: values.seed, results }, null, 2));
else {
  for (const { outcome, file, line, kind, before, after } of results)
    if (outcome === "survived") console.log(`survived: ${file}:${line} ${kind}\n  ${before}\n  ${after}`);
  const share = ((100 * count("killed")) / Math.max(1, tested)).toFixed(0);
  console.log(
    `${count("killed")} of ${tested} killed (${share} %), ${count("does not compile")} do not compile`,
  );
}
