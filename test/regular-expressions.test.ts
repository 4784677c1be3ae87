// Every regular expression of the programs takes time in proportion to its text: a client's, a file's, another server's.
import { readdirSync, readFileSync } from "node:fs";
import ts from "@typescript/typescript6";
import { analyse } from "scslre";
import { expect, test } from "vitest";

const FOLDERS = readdirSync("packages").map((name) => `packages/${name}/src`);

/** What stands in a pattern for a value that is no constant text of its file. */
const SAMPLES: Readonly<Record<string, string>> = {
  '[...Object.keys(COMMANDS), "COMMAND"].join("|")': "train|serve|COMMAND",
  'FIELDS.join("|")': "prompt|completion",
  'literal.join("[^/]*")': "model-[^/]*\\.gguf",
  "escaped(root)": "/home/mos",
  isAlone: `|(?=["'\\s:;,)]|$)`,
  key: "layers\\.[0-9]+\\.q_proj",
  MAX_WORD_LENGTH: "200",
  name: "L",
  quote: `(?:\\\\?["']|<\\|"\\|>)?`,
  "this.#mark": "\u{e0f7}0\u{e0f7}",
  times: "{2,}",
  DIGIT: "\\p{Nd}",
  WORD: "\\p{L}\\p{N}_",
  UNSPACED: "\\p{Script=Han}\\p{Script=Thai}",
};

/** Patterns that are found and do no harm, and why. */
const HARMLESS: ReadonlyMap<string, string> = new Map([
  [
    String.raw`/[-+]?\p{Nd}*\.\p{Nd}+|\p{Nd}+/gu`,
    "the second half takes the digits that the first has looked at",
  ],
  [String.raw`/(.+)\n(.*\D(\d+)[^\d\n]*)\n/g`, "it reads the eight examples beside it"],
  [String.raw`/^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m`, "the kernel writes it"],
]);

const ADVICE =
  "takes time with the square of its text, such as a repeated %s. Write it so that no run of characters is looked at again " +
  'from each of them, as /(?<!x)x+$/ and /"[^"]*"?/ do, and so that two neighbours never take the same characters; or ' +
  "list it in HARMLESS, and say what bounds its text";

interface Found {
  readonly place: string;
  readonly pattern: RegExp;
}

/** A constant text, or its sample. */
function textOf(node: ts.Expression, file: ts.SourceFile): string {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.templateSpans.reduce(
      (text, { expression, literal }) => text + textOf(expression, file) + literal.text,
      node.head.text,
    );
  const sample = SAMPLES[node.getText(file)];
  if (sample !== undefined) return sample;
  for (const statement of file.statements)
    for (const { name, initializer } of ts.isVariableStatement(statement)
      ? statement.declarationList.declarations
      : [])
      if (name.getText(file) === node.getText(file) && initializer !== undefined)
        return textOf(initializer, file);
  throw new Error(`${file.fileName}: say in SAMPLES what ${node.getText(file)} stands for in a pattern`);
}

function patternOf(node: ts.Node, file: ts.SourceFile): RegExp | undefined {
  if (ts.isRegularExpressionLiteral(node)) {
    const end = node.text.lastIndexOf("/");
    return new RegExp(node.text.slice(1, end), node.text.slice(end + 1));
  }
  const isBuilt = ts.isNewExpression(node) || ts.isCallExpression(node);
  if (!isBuilt || node.expression.getText(file) !== "RegExp") return undefined;
  const [source, flags] = node.arguments ?? [];
  return source && new RegExp(textOf(source, file), flags && textOf(flags, file));
}

function patternsIn(path: string): readonly Found[] {
  const file = ts.createSourceFile(path, readFileSync(path, "utf8"), ts.ScriptTarget.Latest);
  const found: Found[] = [];
  const visit = (node: ts.Node): void => {
    const pattern = patternOf(node, file);
    const line = file.getLineAndCharacterOfPosition(node.pos).line + 1;
    if (pattern !== undefined) found.push({ place: `${path}:${line}`, pattern });
    ts.forEachChild(node, visit);
  };
  visit(file);
  return found;
}

/** The characters that a pattern names, and one of each class. */
function charactersOf({ source }: RegExp): readonly string[] {
  const classes: Readonly<Record<string, string>> = {
    s: " ",
    d: "0",
    w: "a",
    S: "a",
    n: "\n",
    t: "\t",
    p: "é",
  };
  const parts = source.matchAll(/\\u\{?([0-9a-f]{4})\}?|\\x([0-9a-f]{2})|\\([^ux])|([^()*+?|^$[\]\\])/gi);
  const named = Array.from(parts, ([, unicode, hex, escaped, plain]) =>
    unicode || hex
      ? String.fromCharCode(Number.parseInt(unicode ?? hex ?? "", 16))
      : (classes[escaped ?? ""] ?? escaped ?? plain ?? ""),
  );
  return [...new Set([...named, "a", "\n"])].slice(0, 12);
}

/** Up to three characters, which a text repeats. */
function unitsOf(pattern: RegExp): readonly string[] {
  const one = charactersOf(pattern);
  const two = one.flatMap((first) => one.map((second) => first + second));
  const few = one.slice(0, 6);
  return [...one, ...two, ...few.flatMap((a) => few.flatMap((b) => few.map((c) => a + b + c)))];
}

/** CPU time of finding all matches before a character that ends them, in microseconds. */
function measure(pattern: RegExp, unit: string, length: number): number {
  const text = `${unit.repeat(length / unit.length)}\0`;
  const before = process.cpuUsage();
  text.replace(pattern, "");
  return process.cpuUsage(before).user;
}

const best = (pattern: RegExp, unit: string, length: number): number =>
  Math.min(...Array.from({ length: 5 }, () => measure(pattern, unit, length)));

/** Tests for times that are far from linear. A millisecond for a short text arouses suspicion. */
function grows(pattern: RegExp, unit: string): boolean {
  // in small steps: exponential times would not end
  for (let length = 12; length < 5000; length *= length < 100 ? 1.2 : 6) {
    if (measure(pattern, unit, length) < 1000) continue;
    const time = best(pattern, unit, length);
    if (time < 500) continue;
    if (best(pattern, unit, 1.2 * length) > 2.5 * time) return true;
    return best(pattern, unit, 4 * length) > 2.5 * best(pattern, unit, 2 * length);
  }
  return false;
}

/** What makes a pattern slow, or undefined. */
function findAttack(pattern: RegExp): string | undefined {
  if (!/[*+]|,\}/.test(pattern.source)) return undefined;
  const [report] = analyse(pattern).reports;
  if (report !== undefined) return report.character.pick.toString();
  const every = new RegExp(pattern, `${pattern.flags.replace("g", "")}g`);
  measure(every, "a", 12); // compiles it
  return unitsOf(pattern).find((unit) => grows(every, unit));
}

const findPatterns = (): readonly Found[] =>
  FOLDERS.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => /\.(tsx?|js)$/.test(name) && !name.endsWith(".test.ts"))
      .flatMap((name) => patternsIn(`${folder}/${name}`)),
  );

test("every regular expression is linear", { tags: "thorough" }, () => {
  const patterns = findPatterns();
  expect(patterns.length).toBeGreaterThan(300);
  const slow = patterns
    .filter(({ pattern }) => !HARMLESS.has(String(pattern)))
    .map(({ place, pattern }) => ({ place, pattern, attack: findAttack(pattern) }))
    .filter(({ attack }) => attack !== undefined);
  expect(
    slow.map(
      ({ place, pattern, attack }) => `${place}: ${pattern} ${ADVICE.replace("%s", JSON.stringify(attack))}`,
    ),
  ).toEqual([]);
});

test("patterns that do no harm are still there", { tags: "thorough" }, () => {
  const known = new Set(findPatterns().map(({ pattern }) => String(pattern)));
  expect([...HARMLESS.keys()].filter((pattern) => !known.has(pattern))).toEqual([]);
});

const isFound = (pattern: RegExp): void => expect(findAttack(pattern)).toBeDefined();
const FOUND = "%s is found";
test.each([/\{\{(.*?)\}\}/gs, /\s+$/, /\{\s*(\d*)\s*(,?)\s*(\d*)\s*\}/y])(FOUND, isFound);
test.each([/^(a|aa)+$/, /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s{}[\]:,"]+/g])(FOUND, { tags: "thorough" }, isFound);
