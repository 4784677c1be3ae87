import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { GrammarError } from "#grammar";
import { compileSchema } from "#json-schema";
import { Recognizer } from "./recognize.ts";

/** A schema of JSON-Schema-Test-Suite (commit 44401e0c, draft 2020-12, required part) with its instances. */
interface Group {
  readonly description: string;
  readonly schema: unknown;
  readonly tests: readonly (readonly [description: string, data: unknown, isValid: boolean])[];
}

const FIXTURES = join(import.meta.dirname, "fixtures");
const suite: Readonly<Record<string, readonly Group[]>> = JSON.parse(
  gunzipSync(readFileSync(join(FIXTURES, "json-schema-test-suite.json.gz"))).toString(),
);

/** Says whether an instance is allowed; a text where the schema is refused. */
function compile(schema: unknown): ((data: unknown) => boolean) | string {
  try {
    const recognizer = new Recognizer(compileSchema(schema, { limits: { time: 30_000 } }));
    return (data) => recognizer.accepts(JSON.stringify(data));
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    // a schema without values allows none, rightly
    if (error.message.includes("allows no value")) return () => false;
    return `${error.code} ${error.keyword ?? ""}`.trim();
  }
}

/** Lines of the ratchet: what each file passes, what is refused, and valid instances that cannot be written. */
function judge(
  file: string,
  groups: readonly Group[],
): { lines: readonly string[]; wrong: readonly string[] } {
  const lines: string[] = [];
  const wrong: string[] = [];
  let passed = 0;
  let total = 0;
  for (const { description, schema, tests } of groups) {
    total += tests.length;
    const accepts = compile(schema);
    if (typeof accepts === "string") {
      lines.push(`  refused: ${description} (${accepts})`);
      continue;
    }
    for (const [name, data, isValid] of tests) {
      const isAccepted = accepts(data);
      if (isAccepted === isValid) passed++;
      else if (isAccepted) wrong.push(`${file}: ${description}: ${name}`);
      else lines.push(`  not written: ${description}: ${name}`);
    }
  }
  return { lines: [`${file} ${passed} of ${total}`, ...lines], wrong };
}

test("no instance is allowed that the test suite calls invalid", async () => {
  const files = Object.entries(suite).map(([file, groups]) => judge(file, groups));
  expect(files.flatMap(({ wrong }) => wrong)).toEqual([]);
  // a change for the better is recorded by `npx vitest run -u` of this file
  const text = files.flatMap(({ lines }) => lines).join("\n");
  await expect(`${text}\n`).toMatchFileSnapshot(join(FIXTURES, "json-schema-test-suite.ratchet.txt"));
}, 240_000);
