import {
  access,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { initialState, loadCheckpoint, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
import type { Parameter } from "./step-graph.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const makeParameters = (start: number): ReadonlyMap<string, Parameter> =>
  new Map([
    ["a", { shape: [2, 3], data: Float32Array.from({ length: 6 }, (_, i) => start + i) }],
    ["b", { shape: [2], data: Float32Array.of(-start, 1 / 3) }],
  ]);

/** A state with numbers that a lossy format would change. */
function stateAt(step: number): TrainingState {
  const state = initialState(makeParameters(step + 0.1));
  for (const { first, second } of state.moments.values()) {
    first.fill(-1e-30 * step);
    second.fill(step / 7);
  }
  return { ...state, step, best: { step: step - 1, loss: 1 / step } };
}

/** Loads into new parameters. */
const load = () => loadCheckpoint(folder, makeParameters(0));
const at = (step: number) => join(folder, `step-0000000${step}`);

test("what is saved is loaded, bit by bit, into the given parameters", async () => {
  const path = await saveCheckpoint(folder, stateAt(3));
  expect(path).toBe(at(3));
  const parameters = makeParameters(0);
  const state = await loadCheckpoint(folder, parameters);
  expect(state).toEqual(stateAt(3));
  expect(state?.parameters).toBe(parameters);
});

test("a state without a best evaluation comes back without one", async () => {
  const { best: _, ...state } = stateAt(3);
  await saveCheckpoint(folder, { ...state, best: undefined });
  expect((await load())?.best).toBeUndefined();
});

test("a run whose best evaluation came after it was resumed leaves the bytes of one that was not", async () => {
  const written = async (state: TrainingState): Promise<string> => {
    await saveCheckpoint(folder, state);
    return await readFile(join(at(3), "progress.json"), "utf8");
  };
  const { best, ...state } = { ...stateAt(3), baseLoss: 7, evaluated: 3 };
  expect(await written({ best, ...state })).toBe(await written({ ...state, best }));
});

/** A state within an update. */
function stateWithin(step: number): TrainingState {
  const gradients = new Map([...makeParameters(0.3)].map(([name, { data }]) => [name, data]));
  const counts = { microBatches: 2, epoch: 1, correct: 4, targets: 9, tokens: 20, examples: 3 };
  const sums = { ...counts, loss: 1 / 3, count: 3, metrics: { "rewards/chosen": { sum: -0.5, count: 3 } } };
  return { ...stateAt(step), tokens: 70, unfinished: { ...sums, seconds: 0.1, gradients } };
}

test("the sums of an unfinished update are loaded, too, and gone when it is complete", async () => {
  await saveCheckpoint(folder, stateWithin(3));
  expect(await load()).toEqual(stateWithin(3));
  await saveCheckpoint(folder, stateAt(3));
  expect(await load()).toEqual(stateAt(3));
});

/** A state within the evaluation after an update. */
const stateEvaluating = (step: number): TrainingState => ({
  ...stateAt(step),
  evaluating: { batches: 3, loss: 20 / 3, correct: 4, targets: 9, count: 9, metrics: {}, seconds: 0.1 },
});

test("the sums of an unfinished evaluation are loaded, too, and gone when it is complete", async () => {
  await saveCheckpoint(folder, stateEvaluating(3));
  expect(await load()).toEqual(stateEvaluating(3));
  await saveCheckpoint(folder, { ...stateAt(3), evaluated: 3, evaluating: undefined });
  expect(await load()).toEqual({ ...stateAt(3), evaluated: 3 });
});

test("there is no checkpoint in an empty or missing folder", async () => {
  expect(await load()).toBeUndefined();
  expect(await loadCheckpoint(join(folder, "missing"), makeParameters(0))).toBeUndefined();
});

test("a new checkpoint replaces the older ones", async () => {
  await saveCheckpoint(folder, stateAt(1));
  await saveCheckpoint(folder, stateAt(2));
  expect(await readdir(folder)).toEqual(["step-00000002"]);
});

test("other things in the folder stay", async () => {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "notes.txt"), "mine");
  await mkdir(join(folder, "step-1"));
  await saveCheckpoint(folder, stateAt(1));
  expect((await readdir(folder)).sort()).toEqual(["notes.txt", "step-00000001", "step-1"]);
});

describe("what a writer that died leaves", () => {
  /** A process id that no process has, and the writer's temporary name for it. */
  const partial = (step: number) => join(folder, `.step-0000000${step}.4999999-0123abcd.partial`);

  test("half a checkpoint under its temporary name is ignored, and removed by the next save", async () => {
    await saveCheckpoint(folder, stateAt(1));
    await mkdir(partial(2));
    await writeFile(join(partial(2), "state.safetensors"), "half");
    expect((await load())?.step).toBe(1);
    await saveCheckpoint(folder, stateAt(3));
    expect(await readdir(folder)).toEqual(["step-00000003"]);
  });

  test("a first checkpoint that was never renamed is ignored", async () => {
    await mkdir(partial(1));
    expect(await load()).toBeUndefined();
  });

  test("of two complete checkpoints the later one is loaded", async () => {
    await saveCheckpoint(folder, stateAt(1));
    await cp(at(1), join(folder, "kept"), { recursive: true });
    await saveCheckpoint(folder, stateAt(2));
    await rename(join(folder, "kept"), at(1));
    expect((await load())?.step).toBe(2);
  });

  test("an older checkpoint that is half removed does no harm", async () => {
    await saveCheckpoint(folder, stateAt(2));
    await mkdir(at(1));
    await writeFile(join(at(1), "progress.json"), "");
    expect(await load()).toEqual(stateAt(2));
    await saveCheckpoint(folder, stateAt(3));
    expect(await readdir(folder)).toEqual(["step-00000003"]);
  });

  test("a checkpoint put aside for one of the same step comes back", async () => {
    await saveCheckpoint(folder, stateAt(2));
    await rename(at(2), join(folder, ".step-00000002.replaced"));
    await mkdir(partial(2));
    expect(await load()).toEqual(stateAt(2));
    await access(at(2));
  });

  test("one put aside whose successor is complete is not needed", async () => {
    await saveCheckpoint(folder, stateAt(2));
    await mkdir(join(folder, ".step-00000002.replaced"));
    expect(await load()).toEqual(stateAt(2));
    expect(await readdir(folder)).toEqual(["step-00000002"]);
  });
});

describe("a broken checkpoint is an error that names it:", () => {
  const state = () => join(at(4), "state.safetensors");
  const progress = () => join(at(4), "progress.json");
  beforeEach(() => saveCheckpoint(folder, stateAt(4)));
  const refusal = (message: RegExp) =>
    expect(load()).rejects.toThrowError(
      expect.objectContaining({
        name: "MosError",
        code: "bad_data",
        message: expect.stringMatching(message),
      }),
    );

  test("a truncated state", async () => {
    await truncate(state(), (await readFile(state())).length - 1);
    await refusal(/step-00000004\/state\.safetensors.*cut short/);
  });

  test("an empty state", async () => {
    await truncate(state(), 0);
    await refusal(/state\.safetensors: 0 bytes are too few/);
  });

  test("progress that is not JSON", async () => {
    await writeFile(progress(), '{"format": 1, "st');
    await refusal(/step-00000004\/progress\.json.*JSON/);
  });

  test("progress without its step", async () => {
    await writeFile(progress(), '{"format": 1}');
    await refusal(/progress\.json.*step/);
  });

  test("sums that cannot be", async () => {
    const text = await readFile(progress(), "utf8");
    const { gradients: _, ...sums } = stateWithin(4).unfinished!;
    for (const [name, value] of [
      ["loss", null],
      ["microBatches", 0],
      ["correct", 10],
    ] as const) {
      const unfinished = { ...sums, [name]: value };
      await writeFile(progress(), JSON.stringify({ ...JSON.parse(text), unfinished }));
      await refusal(/step-00000004\/progress\.json: .*unfinished/);
    }
    for (const change of [{ loss: null }, { batches: 0 }, { correct: 10 }]) {
      const evaluating = { ...stateEvaluating(4).evaluating, ...change };
      await writeFile(progress(), JSON.stringify({ ...JSON.parse(text), evaluating }));
      await refusal(/step-00000004\/progress\.json: .*evaluating/);
    }
    await writeFile(progress(), JSON.stringify({ ...JSON.parse(text), unfinished: sums }));
    await refusal(/no tensor "gradient\.a"/);
  });

  test("progress of another format", async () => {
    await writeFile(progress(), '{"format": 2, "step": 4, "tokens": 0}');
    await refusal(/progress\.json.*format/);
  });

  test("a folder of another step", async () => {
    await rename(at(4), at(5));
    await refusal(/step-00000005 is of step 4/);
  });

  test("the state of another run", async () => {
    const other = new Map([["a", { shape: [7], data: new Float32Array(7) }]]);
    await expect(loadCheckpoint(folder, other)).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_data",
        message: `${at(4)}: parameter.a has 6 values, but this run has 7; start again without --resume`,
      }),
    );
  });

  test("a state without a tensor that the run has", async () => {
    const other = new Map([...makeParameters(0), ["c", { shape: [1], data: new Float32Array(1) }] as const]);
    await expect(loadCheckpoint(folder, other)).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_data",
        message: expect.stringMatching(/no tensor "parameter\.c"/),
      }),
    );
  });

  test("a missing state", async () => {
    await rm(state());
    await expect(load()).rejects.toThrowError(expect.objectContaining({ code: "not_found" }));
  });
});
