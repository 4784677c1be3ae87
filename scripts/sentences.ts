// Sentences drawn at random from what users read, for an editor: README and documents, help, messages of errors.
// usage: npm run sentences [-- --seed 1 --count 50]
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import ts from "@typescript/typescript6";
import type { Command } from "commander";
import { randomStream } from "mixture-of-shards-core/common";
import { createProgram, loadCommands } from "../packages/mos/src/cli/program.ts";

interface Sentence {
  readonly source: string;
  readonly text: string;
}

const tracked = (...patterns: readonly string[]): readonly string[] =>
  execFileSync("git", ["ls-files", ...patterns], { encoding: "utf8" })
    .split("\n")
    .filter(Boolean);

/** Sentences of a text, at least four words long. */
const sentences = (source: string, text: string): readonly Sentence[] =>
  text
    .split(/(?<=[.!?:])\s+(?=[A-Z`"])|\n{2,}/)
    .map((sentence) => ({ source, text: sentence.replaceAll(/\s+/g, " ").trim() }))
    .filter((sentence) => sentence.text.split(" ").length >= 4);

/** Prose of a Markdown file: paragraphs and list items, without front matter, code, tables, headings and HTML. */
function readProse(path: string): readonly Sentence[] {
  const text = readFileSync(path, "utf8")
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .replaceAll(/^```[\s\S]*?^```/gm, "\n")
    .replaceAll(/<!--[\s\S]*?-->/g, "\n")
    .replaceAll(/^\s*(\||#|<|!\[|:::).*$/gm, "\n")
    .replaceAll(/^\s*(?:[-*]|\d+\.)\s+/gm, "\n\n");
  return sentences(path, text);
}

const readHelp = (command: Command): readonly Sentence[] => [
  ...sentences(`${command.name()} --help`, command.description()),
  ...command.options.flatMap((option) =>
    sentences(`${command.name()} --help: ${option.long ?? option.flags}`, option.description),
  ),
  ...command.commands.flatMap(readHelp),
];

/** Messages of the errors that a source file throws; `…` stands for a value. */
function readMessages(path: string): readonly Sentence[] {
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  const found: Sentence[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isNewExpression(node) && /Error$/.test(node.expression.getText(file)))
      for (const argument of node.arguments ?? [])
        if (ts.isStringLiteral(argument) || ts.isTemplateLiteral(argument))
          found.push(
            ...sentences(
              path,
              argument
                .getText(file)
                .slice(1, -1)
                .replaceAll(/\$\{[^}]*\}/g, "…"),
            ),
          );
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

const { values } = parseArgs({
  options: { seed: { type: "string", default: "1" }, count: { type: "string", default: "50" } },
});
const sources = tracked("src/*.ts", "packages/*/src/*.ts").filter((path) => !/\.test\.ts$/.test(path));
const all = [
  ...tracked("*.md").flatMap(readProse),
  ...readHelp(createProgram(await loadCommands())),
  ...sources.flatMap(readMessages),
];
const order = randomStream(Number(values.seed), "sentences").permutation(all.length);
const drawn = [...order.slice(0, Number(values.count))].flatMap((i) => all[i] ?? []);
for (const [i, { source, text }] of drawn.entries()) console.log(`${i + 1}. ${text}   [${source}]`);
