import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  blocksOf,
  commandsIn,
  documents,
  flawOf,
  runsHere,
  unmarkedCommands,
  wordsOf,
} from "../scripts/ci/commands.ts";

const read = (path: string): string => readFileSync(path, "utf8");

describe.each(documents())("%s", (path) => {
  test("shows only commands that the programs understand", () => {
    const flaws = commandsIn(path).map(({ where, text }) => [where, text, flawOf(text)] as const);
    expect(flaws.filter(([, , flaw]) => flaw !== undefined)).toEqual([]);
  });

  test("marks its commands, so that they are checked", () => {
    expect(unmarkedCommands(path)).toEqual([]);
  });

  test("has no link that leads nowhere", () => {
    const targets = [...read(path).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((found) => found[1]!);
    const local = targets.filter((target) => !/^[a-z]+:/.test(target));
    expect(local.filter((target) => !existsSync(join(dirname(path), target)))).toEqual([]);
  });

  test("names only files of the repository that exist", () => {
    const names = [...read(path).matchAll(/`((?:src|scripts|bench|examples|test|assets)\/[\w./-]+)`/g)];
    expect(names.map((found) => found[1]!).filter((name) => !existsSync(name))).toEqual([]);
  });

  test("shows no TypeScript but that of the examples, which are run", () => {
    const shown = blocksOf(read(path)).filter(({ language }) => language === "ts");
    const examples = ["finetune", "generate", "gradients", "budget", "serve", "evaluate"].map((name) =>
      read(`examples/${name}.ts`),
    );
    expect(shown.filter(({ content }) => !examples.some((example) => example.includes(content)))).toEqual([]);
  });
});

test("README shows commands that are run, and others that are read", () => {
  const commands = commandsIn("README.md").map(({ text }) => text);
  expect(commands.filter(runsHere).length).toBeGreaterThan(3);
  expect(commands.filter((text) => !runsHere(text)).length).toBeGreaterThan(3);
});

test("a wrong command is noticed", () => {
  expect(flawOf("npx mos train --model m --data d.jsonl --out o --ranks 8")).toMatch(
    /unknown option '--ranks'/,
  );
  expect(flawOf("npx mos generate --prompt Hi")).toMatch(/--model/);
  expect(flawOf("npx mos params --rank many")).toMatch(/rank/);
  expect(flawOf("npm run goldns -- DIR")).toMatch(/no script goldns/);
  expect(flawOf("npm run bench:decode -- --rowz 2")).toMatch(/no option --rowz/);
  expect(flawOf("curl example.org")).toMatch(/nobody checks/);
  expect(wordsOf(`echo "a b" | npx mos generate --stop '\\n'`)).toEqual([
    "npx",
    "mos",
    "generate",
    "--stop",
    "\\n",
  ]);
});
