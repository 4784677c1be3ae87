import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { sidebar } from "../docs/.vitepress/sidebar.ts";
import {
  commandsIn,
  documents,
  findFlaw,
  isReport,
  readBlocks,
  splitWords,
  unmarkedCommands,
} from "../scripts/ci/commands.ts";
import { brokenLinks } from "../scripts/ci/links.ts";
import { CONFIG_SCHEMA, configSchema, withReference } from "../scripts/ci/reference.ts";

const read = (path: string): string => readFileSync(path, "utf8");

const ROOT_FOLDERS = "packages|scripts|bench|examples|test|assets";

test("the schema of mos.config.json has the options that the commands declare (npm run options)", () => {
  expect(read(CONFIG_SCHEMA)).toBe(configSchema());
});

describe("all documents", () => {
  const pages = documents();
  /** What is wrong, each flaw with its page. */
  const flaws = (find: (path: string) => readonly unknown[]) =>
    pages.flatMap((path) => find(path).map((flaw) => [path, flaw] as const));

  test("have the lists and tables that the code declares (npm run options)", () => {
    for (const path of pages) expect(withReference(read(path)), path).toBe(read(path));
  });

  test("show only commands that the programs understand, marked as commands", () => {
    expect(flaws((path) => commandsIn(path).filter(({ text }) => findFlaw(text) !== undefined))).toEqual([]);
    expect(flaws(unmarkedCommands)).toEqual([]);
  });

  test("link to files and headings, and name files of the repository, that exist", () => {
    expect(flaws(brokenLinks)).toEqual([]);
    const names = new RegExp(`\`((?:${ROOT_FOLDERS})/[\\w./-]+)\``, "g");
    const missing = (path: string) =>
      [...read(path).matchAll(names)].map((found) => found[1]!).filter((name) => !existsSync(name));
    expect(flaws(missing)).toEqual([]);
  });

  test("show no TypeScript but that of the examples, which are run", () => {
    const examples = readdirSync("examples")
      .filter((name) => name.endsWith(".ts"))
      .map((name) => read(join("examples", name)));
    const foreign = (path: string) =>
      readBlocks(read(path)).filter(
        ({ language, content }) =>
          language === "ts" && !examples.some((example) => example.includes(content)),
      );
    expect(flaws(foreign)).toEqual([]);
  });
});

test("the command is spelt mos, and one sentence says how to call it without npm link", () => {
  const spelt = documents()
    .filter((path) => !isReport(path) && path !== "docs/how-to/troubleshooting.md")
    .flatMap((path) => read(path).match(/^.*\bnpx (mos|mixture-of-shards)\b.*$/gm) ?? []);
  expect(spelt).toEqual([expect.stringMatching(/`npx mixture-of-shards`/)]);
});

test("the sidebar lists every page of the documentation once", () => {
  const listed = sidebar.flatMap(({ pages }) => pages).map((page) => `docs/${page}.md`);
  expect(listed.toSorted()).toEqual(documents().filter((path) => path.startsWith("docs/")));
});

test("comments name only files that exist", () => {
  const sources = readdirSync("packages", { recursive: true, encoding: "utf8" }).filter((path) =>
    /^[^/]+\/src\/.*(?<!\.d)\.ts$/.test(path),
  );
  const dead = sources.flatMap((path) => {
    const comments = read(join("packages", path)).matchAll(/(?:\/\/|^ *\/?\*).*/gm);
    const names = [...comments].flatMap(([line]) => line.match(/(?<![\w./>-])\w[\w./-]*\.ts\b/g) ?? []);
    const source = join("packages", path.split("/")[0] ?? "", "src");
    const folders = ["", source, join("packages", dirname(path))];
    return names
      .filter((name) => !folders.some((folder) => existsSync(join(folder, name))))
      .map((name) => `packages/${path}: ${name}`);
  });
  expect(dead).toEqual([]);
});

test("every entry point has its documentation checked, and is named in README", () => {
  const manifest = JSON.parse(read("packages/mos/package.json")) as {
    exports: Record<string, { types: string } | string>;
  };
  const paths = Object.entries(manifest.exports).flatMap(([name, files]) =>
    typeof files === "string"
      ? []
      : [{ name, source: files.types.replace("./dist/", "packages/mos/src/").replace(".d.ts", ".ts") }],
  );
  const { entryPoints } = JSON.parse(read("typedoc.json")) as { entryPoints: string[] };
  expect(paths.map(({ source }) => source)).toEqual(entryPoints);
  for (const { name } of paths) expect(read("README.md")).toContain(name.slice(1));
});

test("a wrong command is noticed", () => {
  expect(findFlaw("mos train --model m --data d.jsonl --out o --ranks 8")).toMatch(
    /unknown option '--ranks'/,
  );
  expect(findFlaw("mos generate --prompt Hi")).toMatch(/--model/);
  expect(findFlaw("mos params --rank many")).toMatch(/rank/);
  expect(findFlaw("npm run goldns -- DIR")).toMatch(/no script goldns/);
  expect(findFlaw("npm run bench:decode -- --rowz 2")).toMatch(/no option --rowz/);
  expect(findFlaw("npm run bench:teach")).toMatch(/needs --model/);
  expect(findFlaw("npm run bench:adapter-memory")).toBeUndefined();
  expect(findFlaw("curl http://127.0.0.1:8080/v1/adaptors")).toMatch(/no route/);
  expect(findFlaw("curl example.org")).toMatch(/is not checked/);
  expect(splitWords(`echo "a b" | mos generate --stop '\\n'`)).toEqual(["mos", "generate", "--stop", "\\n"]);
});
