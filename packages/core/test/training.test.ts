import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { makeBatch } from "#data";
import {
  countSteps,
  evaluateLoss,
  gradientSource,
  initialState,
  loadCheckpoint,
  saveCheckpoint,
  type TrainableModel,
  type TrainEvent,
  type TrainingState,
  type TrainOptions,
  type TrainSettings,
  train,
} from "#training";
import { runs } from "../../../test/runs.ts";
import { copyNumbers, randomExamples, tinyMos, tinySettings, tinyTrainable } from "./tiny-training.ts";

const examples = randomExamples([9, 14, 5, 20, 7, 11, 16, 3, 12, 6, 18, 8]);
const validation = randomExamples([10, 6, 13, 4], 1);

interface RunOptions {
  readonly model?: TrainableModel;
  readonly state?: TrainingState;
  readonly validation?: TrainOptions["validation"];
  readonly signal?: AbortSignal;
  readonly now?: () => number;
  readonly maxTokens?: number;
  readonly saveSeconds?: number;
  readonly onEvent?: (event: TrainEvent) => unknown;
}

/** Trains a new tiny adapter, or resumes one, and gives its events (checkpoints without their states) and numbers. */
async function run(settings: Partial<TrainSettings>, options: RunOptions = {}) {
  const { model = tinyTrainable(), signal, onEvent, now = () => 0, maxTokens, saveSeconds } = options;
  const events: TrainEvent[] = [];
  const all = { ...tinySettings, ...settings };
  const state = options.state ?? initialState(model.parameters);
  const shared = { model, train: examples, validation: options.validation ?? [], signal, now };
  for await (const event of train({ ...shared, maxTokens, saveSeconds, settings: all, state })) {
    events.push(event);
    await onEvent?.(event);
  }
  return { events, numbers: copyNumbers(model.parameters) };
}

const stepsIn = (events: readonly TrainEvent[]) => events.filter((event) => event.type === "step");
const kinds = (events: readonly TrainEvent[]) =>
  events.map((event) => `${event.type} ${event.type === "checkpoint" ? event.state.step : event.step}`);

function expectNear(
  left: Record<string, Float32Array>,
  right: Record<string, Float32Array>,
  limit: number,
): void {
  for (const [name, numbers] of Object.entries(left))
    numbers.forEach((x, i) => {
      expect(Math.abs(x - right[name]![i]!), `${name}[${i}]`).toBeLessThan(limit);
    });
}

const busy = { dropout: 0.2, gradientAccumulationSteps: 2, steps: 8 } as const;

describe("a run", () => {
  test("learns, and its events come in order", async () => {
    const { events } = await run(
      { steps: 24, evaluateEvery: 12, saveEvery: 16 },
      { validation: examples.slice(0, 4) },
    );
    expect(kinds(events)).toEqual([
      "evaluation 0",
      ...Array.from({ length: 12 }, (_, i) => `step ${i + 1}`),
      "evaluation 12",
      ...Array.from({ length: 4 }, (_, i) => `step ${i + 13}`),
      "checkpoint 16",
      ...Array.from({ length: 8 }, (_, i) => `step ${i + 17}`),
      "evaluation 24",
      "checkpoint 24",
    ]);
    const losses = events.filter((event) => event.type === "evaluation").map(({ loss }) => loss);
    expect(losses[1]).toBeLessThan(losses[0]! - 0.1);
    expect(stepsIn(events)[0]!.learningRate).toBe(0);
    expect(stepsIn(events)[1]!.learningRate).toBe(tinySettings.learningRate);
  });

  test("gives the same bytes again with the same seed, and others with another", async () => {
    const first = await run(busy);
    const second = await run(busy);
    expect(second.numbers).toEqual(first.numbers);
    expect(second.events).toEqual(first.events);
    expect((await run({ ...busy, seed: 12 })).numbers).not.toEqual(first.numbers);
  });

  test("counts what it read", async () => {
    const { events } = await run({ packing: false, batchSize: 12, steps: 2 });
    const [step] = stepsIn(events);
    expect(step).toMatchObject({ epoch: 0, examples: 12, tokens: 129 });
    expect(step!.targetTokens).toBe(examples.reduce((sum, { targetTokens }) => sum + targetTokens, 0));
    expect(stepsIn(events)[1]!.epoch).toBe(1);
  });

  test("needs examples", async () => {
    const model = tinyTrainable();
    const state = initialState(model.parameters);
    const options = { model, settings: tinySettings, train: [], validation: [], state, now: () => 0 };
    await expect(train(options).next()).rejects.toThrowError(
      expect.objectContaining({ code: "bad_data", message: "there are no examples to train on" }),
    );
  });
});

test("an update is AdamW on the mean gradient of the target tokens, clipped", async () => {
  const model = tinyTrainable();
  const before = copyNumbers(model.parameters);
  const gradients = new Map<string, Float32Array>();
  let counted = 0;
  {
    await using source = gradientSource(model);
    const batch = makeBatch(
      examples.map((one) => [one]),
      { length: 32, padToken: 0 },
    );
    const whole = await source.gradients(batch, undefined);
    counted = whole.targets;
    for (const [name, g] of whole.gradients) gradients.set(name, g.slice());
  }
  const norm = Math.hypot(...[...gradients.values()].flatMap((g) => [...g])) / counted;
  expect(norm).toBeGreaterThan(0.5);
  // a large ε, so that the size of the gradient matters
  const { numbers, events } = await run(
    {
      steps: 1,
      warmup: 0,
      packing: false,
      batchSize: 12,
      learningRate: 0.1,
      maxGradientNorm: 0.5,
      epsilon: 0.05,
      weightDecay: 0.1,
    },
    { model },
  );
  expect(stepsIn(events)[0]!.gradientNorm).toBeCloseTo(norm, 3);
  const expected = Object.fromEntries(
    Object.entries(before).map(([name, numbersBefore]) => [
      name,
      numbersBefore.map((x, i) => {
        const g = (gradients.get(name)![i]! / counted) * (0.5 / norm);
        return x - 0.1 * (g / (Math.abs(g) + 0.05) + 0.1 * x);
      }),
    ]),
  );
  expectNear(numbers, expected, 1e-5);
});

test("every micro-batch has a dropout of its own", async () => {
  const still = { learningRate: 1e-30, steps: 4, batchSize: 1 };
  const model = tinyTrainable();
  const losses = async (dropout: number): Promise<readonly number[]> => {
    const trainable = dropout === 0 ? model : tinyTrainable({ ...tinyMos, dropout });
    const state = initialState(trainable.parameters);
    const settings = { ...tinySettings, ...still, dropout };
    const found: number[] = [];
    const options = {
      model: trainable,
      settings,
      train: examples.slice(0, 1),
      validation: [],
      state,
      now: () => 0,
    };
    for await (const event of train(options)) if (event.type === "step") found.push(event.loss);
    return found;
  };
  expect(new Set(await losses(0)).size).toBe(1);
  expect(new Set(await losses(0.5)).size).toBe(4);
});

test("two batches of two rows added up are one batch of four", async () => {
  const settings = { packing: false, steps: 5, warmup: 0 };
  const one = await run({ ...settings, batchSize: 4, gradientAccumulationSteps: 1 });
  const two = await run({ ...settings, batchSize: 2, gradientAccumulationSteps: 2 });
  expectNear(one.numbers, two.numbers, 1e-4);
  stepsIn(one.events).forEach((step, i) => {
    const other = stepsIn(two.events)[i]!;
    expect(other.loss).toBeCloseTo(step.loss, 4);
    expect(other.gradientNorm).toBeCloseTo(step.gradientNorm, 2);
    expect(other).toMatchObject({ examples: step.examples, targetTokens: step.targetTokens });
  });
});

test("a batch of more tokens than are computed at once is the sum of its parts", async () => {
  // two rows of 8,192 at once, of which the examples fill a little
  const settings = { packing: false, maxLength: 8192, dropout: 0.2, steps: 3 };
  const parts = await run({ ...settings, batchSize: 4 });
  const two = await run({ ...settings, batchSize: 2, gradientAccumulationSteps: 2 });
  expect(parts).toEqual(two);
  expect(stepsIn(parts.events)[0]?.examples).toBe(4);
});

test("the validation loss does not depend on how examples are laid out", async () => {
  await using source = gradientSource(tinyTrainable());
  const loss = async (settings: Partial<TrainSettings>) =>
    (await evaluateLoss(source, examples, { ...tinySettings, ...settings })).loss;
  const packed = await loss({});
  expect(await loss({ packing: false })).toBeCloseTo(packed, 5);
  expect(await loss({ packing: false, batchSize: 5, maxLength: 20 })).toBeCloseTo(packed, 5);
  expect(
    await loss({ batchSize: 1, maxLength: 64, seed: 5, dropout: 0.5, gradientAccumulationSteps: 3 }),
  ).toBeCloseTo(packed, 5);
});

describe("going on from a checkpoint on disk gives the same bits as an uninterrupted run", () => {
  test.each([
    ["packed", { packing: true }],
    ["one example to a row", { packing: false }],
  ])("%s, with dropout and accumulation", async (_, layout) => {
    const folder = await mkdtemp(join(tmpdir(), "mos-resume-"));
    try {
      const settings = { ...busy, ...layout, saveEvery: 1, evaluateEvery: 2 };
      const uninterrupted = await run(settings, {
        validation,
        onEvent: async (event) => {
          if (event.type === "checkpoint" && [1, 4, 7].includes(event.state.step))
            await saveCheckpoint(join(folder, String(event.state.step)), event.state);
        },
      });
      for (const step of runs(3) > 1 ? [1, 4, 7] : [4]) {
        const model = tinyTrainable();
        const state = (await loadCheckpoint(join(folder, String(step)), model.parameters))!;
        expect(state.step).toBe(step);
        const resumed = await run(settings, { model, state, validation });
        expect(resumed.numbers).toEqual(uninterrupted.numbers);
        const after = uninterrupted.events.findIndex(
          (event) => event.type === "step" && event.step === step + 1,
        );
        expect(kinds(resumed.events)).toEqual(kinds(uninterrupted.events.slice(after)));
        expect(stepsIn(resumed.events)).toEqual(stepsIn(uninterrupted.events.slice(after)));
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("wherever it stops within its updates", { timeout: 60_000 }, async () => {
    const settings = { ...busy, gradientAccumulationSteps: 5, steps: 2, evaluateEvery: 1 };
    const whole = await run(settings, { validation });
    const gaps = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(gaps, async (gaps) => {
        const resumed = await runInParts(settings, gaps);
        expect(resumed.numbers).toEqual(whole.numbers);
        expect(resumed.events).toEqual(whole.events.filter(({ type }) => type !== "checkpoint"));
      }),
      { numRuns: runs(3), examples: runs(3) > 1 ? [[[1, 1, 1, 1, 1, 1]]] : [] },
    );
  });

  test("wherever it stops within its evaluations", { timeout: 60_000 }, async () => {
    const settings = { ...busy, steps: 2, evaluateEvery: 1, packing: false, batchSize: 1 };
    const whole = await run(settings, { validation });
    const resumed = await runInParts(settings, Array<number>(20).fill(0));
    expect(resumed.numbers).toEqual(whole.numbers);
    expect(resumed.events).toEqual(whole.events.filter(({ type }) => type !== "checkpoint"));
    // one for each batch of the two updates and the three evaluations, and one to say what the last came to
    expect(resumed.parts).toBe(2 * 2 + 3 * validation.length + 1);
  });

  test("that was made because of the time, within an update or an evaluation too", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mos-overdue-"));
    try {
      const settings = { ...busy, gradientAccumulationSteps: 4, steps: 2, evaluateEvery: 1, saveEvery: 0 };
      const rows = { packing: false, batchSize: 1 };
      let seconds = 0;
      let kept = 0;
      const whole = await run(
        { ...settings, ...rows },
        {
          validation,
          now: () => 1000 * seconds++,
          saveSeconds: 5,
          onEvent: async (event) => {
            if (event.type === "checkpoint") await saveCheckpoint(join(folder, String(kept++)), event.state);
          },
        },
      );
      const saved = whole.events.filter((event) => event.type === "checkpoint");
      expect(saved.some(({ state }) => state.unfinished !== undefined)).toBe(true);
      expect(saved.some(({ state }) => state.evaluating !== undefined)).toBe(true);
      for (let i = 0; i < kept; i++) {
        const model = tinyTrainable();
        const state = (await loadCheckpoint(join(folder, String(i)), model.parameters))!;
        expect((await run({ ...settings, ...rows }, { model, state, validation })).numbers).toEqual(
          whole.numbers,
        );
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("a finished run has nothing left to do", async () => {
    const model = tinyTrainable();
    const { steps } = tinySettings;
    const state = { ...initialState(model.parameters), step: steps, evaluated: steps };
    expect((await run({}, { model, state, validation })).events).toEqual([]);
  });
});

/**
 * Runs that each stop after so many batches and go on from the disk, and one to the end; with all that they measured. With 0
 * they are stopped while they compute their first batch.
 */
async function runInParts(settings: Partial<TrainSettings>, gaps: readonly number[]) {
  const folder = await mkdtemp(join(tmpdir(), "mos-parts-"));
  try {
    let parts = 0;
    const measured = new Map<string, TrainEvent>();
    for (const gap of [...gaps, Number.POSITIVE_INFINITY]) {
      const controller = new AbortController();
      const model = tinyTrainable();
      const state = (await loadCheckpoint(folder, model.parameters)) ?? initialState(model.parameters);
      let ended = 0;
      // the clock is read before and after each batch
      const now = () => {
        ended += 0.5;
        if (gap > 0 && ended >= gap) controller.abort();
        return 0;
      };
      parts += 1;
      if (gap === 0) setImmediate(() => controller.abort());
      const part = await run(settings, {
        model,
        state,
        validation,
        now,
        signal: controller.signal,
        onEvent: async (event) => {
          if (event.type === "checkpoint") await saveCheckpoint(folder, event.state);
        },
      });
      for (const event of part.events)
        if (event.type === "step" || event.type === "evaluation")
          measured.set(`${event.type} ${event.step}`, event);
      if (part.events.at(-1)?.type !== "stopped")
        return { events: [...measured.values()], numbers: part.numbers, parts };
    }
    throw new Error("the run has no end");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("a run that diverges", () => {
  const poisoned = (): TrainableModel => {
    const model = tinyTrainable();
    const weights = new Map(model.weightData);
    const { shape, data } = weights.get("lm_head.weight")!;
    const changed = (data as Float32Array).slice();
    changed[0] = Number.NaN;
    return { ...model, weightData: weights.set("lm_head.weight", { shape, data: changed }) };
  };

  test("says at which step, what was found and what would do, and changes nothing", async () => {
    const model = poisoned();
    const before = copyNumbers(model.parameters);
    await expect(run({}, { model })).rejects.toThrowError(
      expect.objectContaining({
        name: "MosError",
        code: "diverged",
        message: expect.stringMatching(
          /^step 1: the loss is NaN .*lower --learning-rate.*--warmup.*are kept$/,
        ),
      }),
    );
    expect(copyNumbers(model.parameters)).toEqual(before);
  });

  test("leaves the parameters of the last good step", async () => {
    const model = tinyTrainable();
    let last: Record<string, Float32Array> | undefined;
    let step = 0;
    const huge = { learningRate: 1e30, warmup: 0, steps: 50, schedule: "constant" } as const;
    const keep = (event: TrainEvent) => {
      if (event.type !== "step") return;
      last = copyNumbers(model.parameters);
      step = event.step;
    };
    await expect(run(huge, { model, onEvent: keep })).rejects.toThrowError(
      expect.objectContaining({ code: "diverged", message: expect.stringMatching(/^step \d+: the loss is/) }),
    );
    expect(step).toBeGreaterThan(0);
    expect(copyNumbers(model.parameters)).toEqual(last);
  });
});

describe("stopping", () => {
  test("an aborted signal ends the run after the step at hand, with a checkpoint", async () => {
    const controller = new AbortController();
    const { events } = await run(busy, {
      signal: controller.signal,
      onEvent: (event) => event.type === "step" && event.step === 3 && controller.abort(),
    });
    expect(kinds(events)).toEqual(["step 1", "step 2", "step 3", "checkpoint 3", "stopped 3"]);
  });

  test("what was just saved is not saved twice", async () => {
    const controller = new AbortController();
    const { events } = await run(
      { ...busy, saveEvery: 2 },
      { signal: controller.signal, onEvent: (event) => event.type === "checkpoint" && controller.abort() },
    );
    expect(kinds(events)).toEqual(["step 1", "step 2", "checkpoint 2", "stopped 2"]);
  });

  test("an interrupted evaluation is made when the run resumes", async () => {
    const controller = new AbortController();
    const settings = { ...busy, evaluateEvery: 2 };
    const first = await run(settings, {
      validation,
      signal: controller.signal,
      onEvent: (event) => event.type === "step" && event.step === 2 && controller.abort(),
    });
    expect(kinds(first.events).slice(-2)).toEqual(["checkpoint 2", "stopped 2"]);
    const saved = first.events.find((event) => event.type === "checkpoint");
    if (saved?.type !== "checkpoint") throw new Error("no checkpoint");
    const second = await run(settings, { validation, state: saved.state });
    expect(kinds(second.events).slice(0, 2)).toEqual(["evaluation 2", "step 3"]);
  });

  test("a signal that is aborted from the start makes no step", async () => {
    expect(kinds((await run({}, { signal: AbortSignal.abort() })).events)).toEqual(["stopped 0"]);
  });

  test("an update of many batches ends after the current one, and its sums are saved", async () => {
    const controller = new AbortController();
    const { events } = await run(
      { gradientAccumulationSteps: 1000, steps: 1 },
      {
        signal: controller.signal,
        now: () => {
          controller.abort();
          return 0;
        },
      },
    );
    expect(kinds(events)).toEqual(["checkpoint 0", "stopped 0"]);
    expect(events[0]).toMatchObject({ state: { tokens: 0, unfinished: { microBatches: 1 } } });
    expect(events[1]).toMatchObject({ type: "stopped", step: 0, microBatches: 1 });
  });

  test("an update that takes long says each second how far it is", async () => {
    let seconds = 0;
    const now = () => {
      seconds += 0.3;
      return 1000 * seconds;
    };
    const { events } = await run({ gradientAccumulationSteps: 8, steps: 1 }, { now });
    const progress = events.filter((event) => event.type === "progress");
    expect(progress.map(({ microBatches }) => microBatches)).toEqual([4, 7]);
    expect(events.at(-2)).toMatchObject({ type: "step", seconds: expect.closeTo(2.7) });
    expect(progress[0]?.tokens).toBeGreaterThan(0);
  });

  test("an evaluation of many batches ends after the current one, and its sums are saved", async () => {
    const controller = new AbortController();
    setImmediate(() => controller.abort());
    const settings = { packing: false, batchSize: 1 };
    const { events } = await run(settings, { validation, signal: controller.signal });
    expect(kinds(events)).toEqual(["checkpoint 0", "stopped 0"]);
    expect(events[0]).toMatchObject({ state: { evaluating: { batches: 1 } }, evaluationBatches: 1 });
    expect(events[1]).toEqual({ type: "stopped", step: 0, evaluationBatches: 1 });
  });

  test("an evaluation that takes long says each second how far it is", async () => {
    let seconds = 0;
    const now = () => {
      seconds += 0.5;
      return 1000 * seconds;
    };
    const settings = { steps: 1, packing: false, batchSize: 1 };
    const { events } = await run(settings, { validation: [...validation, ...validation], now });
    expect(events.slice(0, 5)).toMatchObject([
      ...[2, 4, 6, 8].map((batches) => ({ type: "evaluating", step: 0, batches })),
      { type: "evaluation", step: 0, seconds: 4 },
    ]);
  });

  test("a run ends before the update with which it would train more tokens than it may", async () => {
    const settings = { gradientAccumulationSteps: 3, steps: 4, packing: false };
    const tokens = stepsIn((await run(settings)).events).map((event) => event.tokens);
    const three = tokens.slice(0, 3).reduce((a, b) => a + b, 0);
    expect(kinds((await run(settings, { maxTokens: three })).events)).toEqual([
      ...["step 1", "step 2", "step 3", "checkpoint 3", "limited 3"],
    ]);
    const { events } = await run(settings, { maxTokens: three - 1 });
    expect(kinds(events)).toEqual(["step 1", "step 2", "checkpoint 2", "limited 2"]);
    expect(events.at(-1)).toMatchObject({ tokens: three });
    const enough = three + (tokens[3] ?? 0);
    expect(kinds((await run(settings, { maxTokens: enough })).events).at(-1)).toBe("checkpoint 4");
  });

  test("a timer can abort in the middle of a step's batches", async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 0);
    const { events } = await run({ gradientAccumulationSteps: 4, steps: 500 }, { signal: controller.signal });
    expect(stepsIn(events).length).toBeLessThan(50);
    expect(events.at(-1)?.type).toBe("stopped");
  });

  test("leaving the loop releases the programs, and the state can be trained further", async () => {
    const model = tinyTrainable();
    const options = { model, settings: tinySettings, train: examples, validation: [], now: () => 0 };
    const events = train({ ...options, state: initialState(model.parameters) });
    for await (const event of events) if (event.type === "step") break;
    expect(await events.next()).toEqual({ done: true, value: undefined });
    expect(kinds((await run({ steps: 2 }, { model })).events)).toContain("step 2");
  });
});

describe("steps of epochs", () => {
  const lengths = examples.map(({ ids }) => ids.length);
  const settings = { ...tinySettings, packing: false };
  test("are whole batches, whose leftover is one more update", () => {
    expect(countSteps(lengths, 1, { ...settings, batchSize: 4 })).toBe(3);
    expect(countSteps(lengths, 2, { ...settings, batchSize: 5 })).toBe(6);
    expect(countSteps(lengths, 2, { ...settings, batchSize: 5, gradientAccumulationSteps: 4 })).toBe(2);
  });
  test("of a part of an epoch are its share, and at least one", () => {
    expect(countSteps(lengths, 1.5, { ...settings, batchSize: 1 })).toBe(18);
    expect(countSteps(lengths, 0.001, settings)).toBe(1);
  });
});
