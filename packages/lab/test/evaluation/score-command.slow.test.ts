import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, mos } from "../../../mos/test/bad-input/run-mos.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-score-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A file of these lines; what is not text is written as JSON. */
async function writeLines(...lines: readonly unknown[]): Promise<string> {
  const path = join(folder, "cases.jsonl");
  const texts = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line)));
  await writeFile(path, `${texts.join("\n")}\n`);
  return path;
}

test("HumanEval's completions are run, and the reason is reported", async () => {
  const references = ["def one():\n", "def check(f):\n    assert f() == 1\n", "one"];
  const bodies = [
    "    return 1\n",
    "    return 2\n",
    "    return (",
    "    while True: pass\n",
    "    return 1",
  ];
  const file = await writeLines(...bodies.map((prediction) => ({ prediction, references })));
  const ended = await mos(["score", "--task", "humaneval", "--file", file]);
  expect(ended.stderr).toBe("humaneval by the rules of open-instruct: mean 0.4 ± 0.24 of 5 cases\n");
  expect(ended.code).toBe(0);
  expect(jsonLines(ended.stdout)).toEqual(
    [
      [1, /^passed$/],
      [0, /AssertionError/],
      [0, /SyntaxError/],
      [0, /timed out/],
      [1, /^passed$/],
    ].map(([score, reason], at) => ({
      extracted: bodies[at],
      score,
      reason: expect.stringMatching(reason as RegExp),
    })),
  );
}, 120_000);

const python = (() => {
  try {
    return execFileSync("which", ["python3"], { encoding: "utf8" }).trim();
  } catch {
    return undefined; // there is none on this machine
  }
})();

test.skipIf(python === undefined)(
  "HumanEval's completions are run with the Python that is given",
  async () => {
    const prediction = "    import sys\n    return sys.platform\n";
    const references = ["def one():\n", "def check(f):\n    assert f() != 'emscripten'\n", "one"];
    const score = ["score", "--task", "humaneval", "--file", await writeLines({ prediction, references })];
    const marks = async (args: readonly string[]) => jsonLines((await mos(args)).stdout);
    expect(await marks([...score, "--python", python!])).toMatchObject([{ score: 1 }]);
    expect(await marks(score)).toMatchObject([{ score: 0 }]);
  },
  120_000,
);
