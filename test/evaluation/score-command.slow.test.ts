import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mos } from "../bad-input/run-mos.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-score-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A file of these lines; what is no text is written as JSON. */
async function fileOf(...lines: readonly unknown[]): Promise<string> {
  const path = join(folder, "cases.jsonl");
  const texts = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line)));
  await writeFile(path, `${texts.join("\n")}\n`);
  return path;
}
const values = (stdout: string): readonly unknown[] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

const python = (() => {
  try {
    return execFileSync("which", ["python3"], { encoding: "utf8" }).trim();
  } catch {
    return undefined; // there is none on this machine
  }
})();

test.skipIf(python === undefined)(
  "HumanEval's answers are run with the Python that is given",
  async () => {
    const prediction = "    import sys\n    return sys.platform\n";
    const references = ["def one():\n", "def check(f):\n    assert f() != 'emscripten'\n", "one"];
    const score = ["score", "--task", "humaneval", "--file", await fileOf({ prediction, references })];
    const marks = async (args: readonly string[]) => values((await mos(args)).stdout);
    expect(await marks([...score, "--python", python!])).toMatchObject([{ score: 1 }]);
    expect(await marks(score)).toMatchObject([{ score: 0 }]);
  },
  120_000,
);
