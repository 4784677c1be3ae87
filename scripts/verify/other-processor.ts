// How far another processor moves a cell of the study: runs the cell anew with ONNX Runtime's kernels for AVX-512, and with
// those for AVX2, which a processor without AVX-512 has. Only on x86-64 Linux with AVX-512; needs gcc and objdump.
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { readJson } from "#files";
import { fail, readArguments } from "../../bench/arguments.ts";
import { type CellResult, type CellSpec, isResult, readResult } from "../../packages/reproduce/src/cell.ts";
import { runInChild } from "../../packages/reproduce/src/cell-child.ts";

const HELP = `usage: npm run verify:other-processor -- --cell FILE.json --model MODEL --data FOLDER

Trains a cell of docs/results/study/cells again, with the kernels for AVX-512 and with those for AVX2, and prints the
held-out loss and the number of right answers of both beside the recorded ones. FOLDER has the cell's two data files.

A copy of ONNX Runtime has ud2 in place of each cpuid. A preloaded handler answers them, the second time without AVX-512.
The installed library is not changed.`;

const cellSchema = z.looseObject({
  key: z.string(),
  purpose: z.enum(["tune", "measure"]),
  learningRate: z.number(),
  seed: z.int(),
  train: z.string(),
  evaluation: z.looseObject({ file: z.string(), answers: z.int(), answerTokens: z.int() }),
  adapter: z.custom<CellSpec["adapter"]>(),
  settings: z.custom<CellSpec["base"] & CellSpec["settings"]>(),
  result: z.looseObject({
    heldOutLoss: z.number(),
    answers: z.object({ correct: z.int(), total: z.int() }).optional(),
  }),
});
type Cell = z.output<typeof cellSchema>;

/** The cpuid instructions of a library, as offsets in its file. */
function cpuidOffsets(library: string): readonly number[] {
  const run = (command: string): string =>
    execFileSync("sh", ["-c", command, library], { encoding: "utf8" }).trim();
  const [, , , address, , offset] = run('objdump -h -j .text "$0" | grep -w .text').split(/\s+/);
  const shift = Number(`0x${offset}`) - Number(`0x${address}`);
  const lines = run('objdump -d -j .text "$0" | grep -w cpuid').split("\n");
  return lines.map((line) => Number.parseInt(line, 16) + shift);
}

/** Puts a copy of the library and the handler in a folder. */
async function prepare(folder: string): Promise<void> {
  const name = "libonnxruntime.so.1";
  const main = createRequire(import.meta.url).resolve("onnxruntime-node");
  const installed = join(dirname(main), "../bin/napi-v6/linux/x64", name);
  const bytes = await readFile(installed);
  for (const at of cpuidOffsets(installed)) {
    if (bytes.readUInt16BE(at) !== 0x0fa2)
      throw new Error(`${installed} has no cpuid at ${at}, where objdump shows one`);
    bytes.writeUInt16BE(0x0f0b, at);
  }
  await writeFile(join(folder, name), bytes);
  const source = join(import.meta.dirname, "other-processor/cpuid.c");
  execFileSync("gcc", ["-O2", "-shared", "-fPIC", "-o", join(folder, "cpuid.so"), source]);
}

async function runCell(cell: Cell, folder: string): Promise<CellResult> {
  const { key, purpose, learningRate, seed, adapter, evaluation } = cell;
  const { baseDtype, compute, ...settings } = cell.settings;
  const spec: CellSpec = {
    key,
    purpose,
    learningRate,
    seed,
    adapter,
    settings,
    base: { baseDtype, compute },
    model,
    train: join(data, cell.train),
    evaluation: { ...evaluation, file: join(data, evaluation.file) },
    benchmarks: [],
    identity: "again",
    version: "again",
    folder,
    threads: 1,
    jobs: 1,
    keepAdapter: false,
    fresh: true,
  };
  const end = await runInChild(spec, {
    entry: undefined,
    signal: undefined,
    onStart: () => undefined,
    onEvent: () => undefined,
  });
  const result = await readResult(folder, spec.identity);
  if (isResult(result)) return result;
  throw new Error(end.type === "failed" ? end.message : "the cell has no result");
}

const given = readArguments(HELP, { values: ["cell", "model", "data"], flags: [] });
const path = (name: string): string => resolve(given.text(name) ?? fail(HELP));
const [cellFile, model, data] = [path("cell"), path("model"), path("data")];
if (process.platform !== "linux" || !(await readFile("/proc/cpuinfo", "utf8")).includes(" avx512f "))
  fail("this is no x86-64 Linux with AVX-512, which could be hidden");

const cell = await readJson(cellFile, cellSchema, { code: "bad_data" });
const show = (kernels: string, { heldOutLoss, answers }: Pick<CellResult, "heldOutLoss" | "answers">): void =>
  console.log(`${kernels.padEnd(10)} ${heldOutLoss} ${answers?.correct ?? "-"} of ${answers?.total ?? "-"}`);

const folder = await mkdtemp(join(tmpdir(), "mos-other-processor-"));
try {
  await prepare(folder);
  show("recorded", cell.result);
  // what the cell's process and those that it starts inherit
  process.env["LD_LIBRARY_PATH"] = folder;
  process.env["LD_PRELOAD"] = join(folder, "cpuid.so");
  show("AVX-512", await runCell(cell, join(folder, "avx512")));
  process.env["HIDE_AVX512"] = "1";
  show("AVX2", await runCell(cell, join(folder, "avx2")));
} finally {
  await rm(folder, { recursive: true, force: true });
}
