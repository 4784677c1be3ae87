// The size of the project in figures: what there is to read, to learn and to install. Fails where a package has more lines
// of production code than "lineBudget" of its package.json: who needs more raises it in the same commit, and says why.
// usage: npm run figures [-- --json] [-- --against REV]   (REV is checked out into a temporary folder and counted by the same rules)
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import ts from "@typescript/typescript6";
import type { Command } from "commander";

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, string | { readonly source?: string }>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  /** The most lines of production code. */
  readonly lineBudget?: number;
}

type Figures = Readonly<Record<string, number>>;

const git = (folder: string, ...args: string[]): string =>
  execFileSync("git", ["-C", folder, ...args], { encoding: "utf8", maxBuffer: 1 << 28 });

const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;

const PRODUCTION = /^(src|packages\/[^/]+\/src)\/.*\.(ts|tsx|js|mjs|css)$/;
/** Neither tests nor types that a script makes. */
const isProduction = (path: string): boolean => PRODUCTION.test(path) && !/\.(test\.\w+|d\.ts)$/.test(path);
const lineCount = (text: string): number => text.split("\n").length - 1;
const isBarrel = (path: string): boolean => path.endsWith("/index.ts");

/** Folder of the package that people install. */
const MAIN = "packages/mos";

/** Source files of the packages in a tree, by the names under which they are imported: "mixture-of-shards/graph". */
function entryPoints(tree: string): ReadonlyMap<string, string> {
  const folders = readdirSync(join(tree, "packages")).map((name) => `packages/${name}`);
  const entries = folders
    .filter((folder) => existsSync(join(tree, folder, "package.json")))
    .flatMap((folder) => {
      const { name, exports = {} } = readManifest(join(tree, folder));
      return Object.entries(exports).flatMap(([path, target]) =>
        typeof target === "string" || target.source === undefined
          ? []
          : [[join(name, path), join(folder, target.source)] as const],
      );
    });
  return new Map(entries);
}

/** The files of production that import each file of production; an index.ts that passes names on does not count. */
function importers(tree: string, files: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const entries = entryPoints(tree);
  const found = new Map(files.map((file) => [file, new Set<string>()]));
  for (const file of files.filter((path) => !isBarrel(path))) {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(tree, file), "utf8"), true, true);
    for (const { fileName } of importedFiles) {
      const isLocal = /^[.]/.test(fileName);
      const home = /^packages\/[^/]+\//.exec(file)?.[0] ?? "";
      const target = isLocal
        ? join(dirname(file), fileName)
        : fileName.startsWith("#")
          ? `${home}src/${fileName.slice(1)}/index.ts`
          : entries.get(fileName);
      if (target !== undefined) found.get(target)?.add(file);
    }
  }
  return found;
}

/** The names that a program can import from the entry points of the package that people install. */
function publicNames(tree: string): ReadonlySet<string> {
  const { name } = readManifest(join(tree, MAIN));
  const sources = [...entryPoints(tree)]
    .filter(([path]) => path === name || path.startsWith(`${name}/`))
    .map(([, source]) => join(tree, source));
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(tree, "tsconfig.json"), ts.sys.readFile).config,
    ts.sys,
    tree,
  );
  const program = ts.createProgram(sources, options);
  const checker = program.getTypeChecker();
  const names = sources.flatMap((source) => {
    const file = program.getSourceFile(source);
    const symbol = file && checker.getSymbolAtLocation(file);
    return symbol === undefined ? [] : checker.getExportsOfModule(symbol).map(({ name }) => name);
  });
  return new Set(names);
}

/** Packages of others that an installation brings. */
function productDependencies(tree: string): ReadonlySet<string> {
  const folders = readdirSync(join(tree, "packages")).map((name) => `packages/${name}`);
  const ours = new Map(folders.map((folder) => [readManifest(join(tree, folder)).name, folder]));
  const found = new Set<string>();
  const add = (folder: string): void => {
    for (const name of Object.keys(readManifest(join(tree, folder)).dependencies ?? {})) {
      const own = ours.get(name);
      if (own === undefined) found.add(name);
      else add(own);
    }
  };
  add(MAIN);
  return found;
}

const optionNames = ({ commands, options }: Command): readonly string[] => [
  ...options.map((option) => option.long ?? option.flags),
  ...commands.flatMap(optionNames),
];

/** The options of every command, those of the add-ons included. */
async function cliOptions(tree: string): Promise<readonly string[]> {
  const { createProgram, loadCommands } = (await import(
    pathToFileURL(join(tree, MAIN, "src/cli/program.ts")).href
  )) as typeof import("../packages/mos/src/cli/program.ts");
  return optionNames(createProgram(await loadCommands()));
}

async function measure(tree: string): Promise<Figures> {
  const tracked = git(tree, "ls-files", "-z")
    .split("\0")
    .filter((path) => path !== "" && existsSync(join(tree, path)));
  const read = (path: string): string => readFileSync(join(tree, path), "utf8");
  const production = tracked.filter(isProduction);
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  const words = (pattern: RegExp): number =>
    sum(tracked.filter((path) => pattern.test(path)).map((path) => read(path).match(/\S+/g)?.length ?? 0));
  const linesOf = (folder: string): number =>
    sum(production.filter((path) => path.startsWith(`${folder}/src/`)).map((path) => lineCount(read(path))));
  const packages = readdirSync(join(tree, "packages"));
  const imported = importers(tree, production);
  const options = await cliOptions(tree);
  return {
    "production lines": sum(production.map((path) => lineCount(read(path)))),
    ...Object.fromEntries(packages.map((name) => [`lines of ${name}`, linesOf(`packages/${name}`)])),
    "production files": production.length,
    types: sum(
      production
        .filter((path) => /\.tsx?$/.test(path))
        .map((path) => read(path).match(/^(export )?(interface|type) \w+/gm)?.length ?? 0),
    ),
    "entry points": [...entryPoints(tree).keys()].filter((path) => /^mixture-of-shards(\/|$)/.test(path))
      .length,
    "public names": publicNames(tree).size,
    "files with one importer": production.filter((path) => !isBarrel(path) && imported.get(path)?.size === 1)
      .length,
    dependencies: productDependencies(tree).size,
    "options of the commands": options.length,
    "names of options": new Set(options).size,
    "words in docs": words(/^docs\/.*\.md$/),
    "words in other documents": words(/^([A-Z]+|packages\/[^/]+\/[A-Z]+)\.md$/),
    "tracked files": tracked.length,
  };
}

/** Makes the packages that are installed here importable in another tree, except for its own. */
function linkPackages(tree: string): void {
  const installed = resolve("node_modules");
  mkdirSync(join(tree, "node_modules"));
  const folders = [tree, ...readdirSync(join(tree, "packages")).map((name) => join(tree, "packages", name))];
  const own = new Map(folders.map((folder) => [readManifest(folder).name, folder]));
  for (const name of new Set([...readdirSync(installed), ...own.keys()]))
    symlinkSync(own.get(name) ?? join(installed, name), join(tree, "node_modules", name));
}

async function measureCommit(revision: string): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), "mos-figures-"));
  const tree = join(folder, "tree");
  try {
    git(".", "worktree", "add", "--detach", "--quiet", tree, revision);
    linkPackages(tree);
    return await measure(tree);
  } finally {
    git(".", "worktree", "remove", "--force", tree);
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Packages that have outgrown their budget. */
const excesses = (figures: Figures): readonly string[] =>
  readdirSync("packages").flatMap((name) => {
    const { lineBudget = 0 } = readManifest(`packages/${name}`);
    const lines = figures[`lines of ${name}`] ?? 0;
    return lines > lineBudget
      ? [`packages/${name}: ${lines} lines are over its budget of ${lineBudget}`]
      : [];
  });

const { values } = parseArgs({ options: { json: { type: "boolean" }, against: { type: "string" } } });
const now = await measure(resolve("."));
const before = values.against === undefined ? undefined : await measureCommit(values.against);

if (values.json === true) {
  console.log(JSON.stringify(before === undefined ? now : { now, before }, null, 2));
} else {
  const width = Math.max(...Object.keys(now).map((name) => name.length));
  const column = (text: string): string => text.padStart(10);
  if (values.against !== undefined)
    console.log(`${" ".repeat(width)}${column("now")}${column(values.against.slice(0, 9))}`);
  for (const [name, figure] of Object.entries(now)) {
    const earlier = before === undefined ? "" : column((before[name] ?? 0).toLocaleString("en"));
    console.log(`${name.padEnd(width)}${column(figure.toLocaleString("en"))}${earlier}`);
  }
}
const over = excesses(now);
for (const problem of over) console.error(problem);
if (over.length > 0) process.exitCode = 1;
