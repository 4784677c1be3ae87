// The walks of CONTRIBUTING: each file that they name exists, and each step imports, or is imported by, one before it.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import ts from "@typescript/typescript6";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const options: ts.CompilerOptions = {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  customConditions: ["source"],
  allowImportingTsExtensions: true,
};

type Names = ReadonlySet<string>;

/** Names in the braces of an import or an export, as the other file has them. */
function namesIn(node: ts.ImportDeclaration | ts.ExportDeclaration): Names {
  const list = ts.isImportDeclaration(node) ? node.importClause?.namedBindings : node.exportClause;
  const elements = list !== undefined && "elements" in list ? [...list.elements] : [];
  return new Set(elements.map(({ propertyName, name }) => (propertyName ?? name).text));
}

const resolutions = ts.createModuleResolutionCache(root, (name) => name, options);
const sources = new Map<string, ts.SourceFile>();

function sourceOf(path: string): ts.SourceFile {
  const source =
    sources.get(path) ?? ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  sources.set(path, source);
  return source;
}

/** Files of this repository from which a file imports names, or hands them on. */
function* namesOf(path: string, isKind: typeof ts.isImportDeclaration | typeof ts.isExportDeclaration) {
  for (const node of sourceOf(path).statements) {
    if (!isKind(node) || node.moduleSpecifier === undefined) continue;
    const { text } = node.moduleSpecifier as ts.StringLiteral;
    const { resolvedModule } = ts.resolveModuleName(text, path, options, ts.sys, resolutions);
    const from = resolvedModule?.resolvedFileName;
    if (from !== undefined && !from.includes("node_modules/")) yield [from, namesIn(node)] as const;
  }
}

/** Whether a file that is passed on as a whole has the name. */
const declares = (path: string, name: string): boolean =>
  new RegExp(`^export (?:async )?(?:function\\*?|class|const|interface|type) ${name}\\b`, "m").test(
    readFileSync(path, "utf8"),
  );

/** The file that defines a name, behind indexes that hand it on. */
function definedIn(path: string, name: string): string {
  for (const [from, names] of namesOf(path, ts.isExportDeclaration))
    if (names.has(name) || (names.size === 0 && declares(from, name))) return definedIn(from, name);
  return path;
}

const imports = new Map<string, Names>();

function importsOf(path: string): Names {
  const known = imports.get(path);
  if (known !== undefined) return known;
  const all = [...namesOf(path, ts.isImportDeclaration)].flatMap(([from, names]) => [
    from,
    ...[...names].map((name) => definedIn(from, name)),
  ]);
  const found = new Set(all);
  imports.set(path, found);
  return found;
}

interface Step {
  readonly title: string;
  readonly files: readonly string[];
}

/** The steps of a walk. A name without a folder is that of a file beside the one before it. */
function readSteps(walk: string): readonly Step[] {
  return [...walk.matchAll(/^\d+\. [\s\S]*?(?=\n(?:\d+\. |\n)|$(?![\s\S]))/gm)].map(([text]) => {
    let folder = "";
    const files = [...text.matchAll(/`([\w./-]+\.ts)`/g)].map(([, name = ""]) => {
      const bases = name.includes("/")
        ? [root, join(root, "packages/service/src")]
        : [folder, join(folder, ".."), join(root, "packages/service/src"), join(root, "packages/server/src")];
      const path = bases.map((base) => join(base, name)).find(existsSync) ?? name;
      if (name.includes("/") || folder === "") folder = dirname(path);
      return path;
    });
    return { title: text.slice(0, 60), files };
  });
}

const [, ...walks] =
  readFileSync(join(root, "CONTRIBUTING.md"), "utf8")
    .split("## Three walks through the code")[1]
    ?.split(/^## /m)[0]
    ?.split(/^### /m) ?? [];

test.each(walks.map((walk) => [walk.split("\n")[0] ?? "", walk] as const))("%s", (_, walk) => {
  const steps = readSteps(walk);
  expect(steps.length).toBeGreaterThan(10);
  for (const [i, { title, files }] of steps.entries()) {
    for (const file of files) expect(existsSync(file), `${title}: ${relative(root, file)}`).toBe(true);
    if (i === 0) continue;
    const earlier = steps.slice(0, i).flatMap((step) => step.files);
    const meets = (a: string, b: string) => a !== b && (importsOf(a).has(b) || importsOf(b).has(a));
    const isJoined = files.some((file) => earlier.some((other) => meets(file, other)));
    expect(isJoined, `${title} imports nothing of the steps before it, nor they of it`).toBe(true);
  }
});
