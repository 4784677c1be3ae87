import { describe, expect, test } from "vitest";
import { parseAdapterConfig } from "#adapters";
import type { FreeMemory } from "#common";
import { bytesPerPosition } from "#inference";
import { baseFromConfig, type PresetName, parameterCount, presetConfig } from "#models";
import { leastMemory, planMemory, type RunSize, requireRunMemory } from "./memory-plan.ts";
import { OBJECTIVES } from "./objectives/index.ts";
import type { FinetuneSettings } from "./settings.ts";

const GB = 1e9;
const adapter = parseAdapterConfig({ method: "lora", rank: 4 });
/** A model of the shape of SmolLM2 with two layers. */
const base = baseFromConfig("small", { ...presetConfig("smollm2-135m"), layers: 2 });
const size: RunSize = {
  baseDtype: "float32",
  computeDtype: "float32",
  batchSize: 4,
  maxLength: 256,
  gradientAccumulationSteps: 1,
  evaluates: false,
};
const free = (bytes: number): FreeMemory => ({ bytes, limit: "machine", resident: 0 });
const plannedBytes = (change: Partial<RunSize>, room = 100 * GB): number =>
  planMemory(base, adapter, { ...size, ...change, free: free(room) }).plan.bytes;

test("more rows, longer rows and a validation split take more; a base in fewer bits takes less", () => {
  const plain = plannedBytes({});
  expect(plannedBytes({ batchSize: 8 })).toBeGreaterThan(plain);
  expect(plannedBytes({ maxLength: 512 })).toBeGreaterThan(plain);
  expect(plannedBytes({ evaluates: true })).toBeGreaterThan(plain);
  const plannedBaseBytes = (baseDtype: RunSize["baseDtype"]): number | undefined =>
    planMemory(base, adapter, { ...size, baseDtype, free: free(100 * GB) }).plan.parts.find(
      ({ name }) => name === "base",
    )?.bytes;
  expect(plannedBaseBytes("int4")).toBeLessThan((plannedBaseBytes("float32") ?? 0) / 3);
});

test("a run that learns from hints has room for its teacher's forward pass, by the longest row that it reads", () => {
  const shapes = (maxSegment: number) => () => ({
    shape: { rows: 1, length: 256, maxSegment },
    validationShape: undefined,
  });
  const objective = OBJECTIVES.sdft.create({ teacherKind: "live" } as FinetuneSettings);
  const plan = (maxSegment: number) => plannedBytes({ objective, batchShapes: shapes(maxSegment) });
  expect(plan(256)).toBeGreaterThan(plannedBytes({ batchShapes: shapes(256) }));
  expect(plan(1024)).toBeGreaterThan(plan(256));
});

test("a run has room for the parameters that it began with, and for what its teacher says of a batch", () => {
  const part = (name: string, change: Partial<RunSize>): number =>
    planMemory(base, adapter, { ...size, ...change, free: free(100 * GB) }).plan.parts.find(
      (one) => one.name === name,
    )?.bytes ?? 0;
  expect(part("adapter", { keepsStart: true })).toBe(2 * part("adapter", {}));
  const objective = OBJECTIVES.sdft.create({ teacherKind: "live" } as FinetuneSettings);
  const shapes = (rows: number) => () => ({
    shape: { rows, length: 256, maxSegment: 256 },
    validationShape: undefined,
  });
  const teaching = (rows: number): number => part("evaluation", { objective, batchShapes: shapes(rows) });
  expect(teaching(4) - teaching(1)).toBeCloseTo(3 * 256 * 4 * base.config.hiddenSize, -4);
});

test("a run that samples has room for keys and values, and for the base as the runtime packs it", () => {
  const sampler = { maxLength: 200, maxBatch: 4 };
  const planned = (change: Partial<RunSize>, room = 100 * GB) =>
    planMemory(base, adapter, { ...size, ...change, free: free(room) });
  const bytes = (part: string, ...given: Parameters<typeof planned>): number =>
    planned(...given).plan.parts.find(({ name }) => name === part)?.bytes ?? 0;
  expect(bytes("cache", { sampler })).toBe(4 * 256 * bytesPerPosition(base.config));
  expect(bytes("cache", {})).toBe(0);
  expect(planned({}).prepacksSampler).toBeUndefined();
  // a resumed run samples with the numbers that it began with
  expect(planned({ sampler, prepacksSampler: false }).prepacksSampler).toBe(false);
  const sizes = (change: Partial<RunSize>) => {
    const roomy = planned({ sampler, ...change });
    const tight = planned({ sampler, ...change }, roomy.plan.bytes);
    expect([roomy, tight].map((one) => one.prepacksSampler)).toEqual([true, false]);
    return [100 * GB, roomy.plan.bytes].map((room) => bytes("sampler", { sampler, ...change }, room)) as [
      number,
      number,
    ];
  };
  // all matrices are copied where they have room
  const matrices = parameterCount(base.config) - 5 * base.config.hiddenSize;
  const [copied, plain] = sizes({});
  expect(copied - plain).toBe(4 * matrices);
  // rows of codes have a byte and a scale
  const head = base.config.vocabularySize * base.config.hiddenSize;
  const [copiedRows, plainRows] = sizes({ computeDtype: "int8" });
  expect((copiedRows - plainRows - 4 * head) / (matrices - head)).toBeCloseTo(1, 1);
  // and blocks are packed in any case
  const [, packed] = sizes({ baseDtype: "int4" });
  expect(packed - plain).toBeGreaterThan(bytes("base", { baseDtype: "int4" }));
});

test("a base of at most 8 bits has products in int8 on a CPU where that has room, other bases as set alone", () => {
  const unset = { ...size, computeDtype: undefined, baseDtype: "int4", maxLength: 64 } as const;
  const choose = (change: Partial<RunSize>, room = 100 * GB): string =>
    planMemory(base, adapter, { ...unset, ...change, free: free(room) }).computeDtype;
  expect(choose({})).toBe("int8");
  expect(choose({ computeDtype: "float32" })).toBe("float32");
  expect(choose({ device: "webgpu" })).toBe("float32");
  expect(choose({ baseDtype: "float32" })).toBe("float32");
  expect(choose({ baseDtype: "nf4" })).toBe("float32");
  // a base of 7 billion parameters in 4 bits alone, without the room for its int8 rows
  const large = baseFromConfig("large", presetConfig("llama2-7b"));
  const one = { ...unset, batchSize: 1, free: free(6.5 * GB) };
  expect(planMemory(large, adapter, one).computeDtype).toBe("float32");
});

const OTHER_PRESETS = [
  ...(["mistral-7b-v0.1", "qwen2.5-0.5b", "qwen3-0.6b", "smollm3-3b"] as const),
  ...(["gemma2-2b", "phi4-mini", "olmo2-1b", "granite3.3-2b"] as const),
] as const;

describe("a plan has room for its base and for what lies between its layers", () => {
  test.each(["smollm2-135m", "gemma3-270m"] as const)("%s", expectRoom);
  test.each(OTHER_PRESETS)("%s", { tags: "thorough" }, expectRoom);
});

function expectRoom(name: PresetName): void {
  const config = presetConfig(name);
  const whole = baseFromConfig(name, config);
  const planned = planMemory(whole, adapter, { ...size, baseDtype: "int4", free: free(1000 * GB) });
  const plannedPart = (part: string): number =>
    planned.plan.parts.find((each) => each.name === part)?.bytes ?? 0;
  const parameters = parameterCount(config);
  expect(plannedPart("base")).toBeGreaterThan(0.5 * parameters);
  expect(plannedPart("base")).toBeLessThan(1.1 * parameters);
  const tokens = size.batchSize * size.maxLength;
  const between = 4 * tokens * config.layers * config.hiddenSize;
  expect(plannedPart("activations")).toBeGreaterThan(between);
  const inLayers =
    config.layers * (config.heads * (config.headDim + size.maxLength) + config.intermediateSize);
  const logits = 4 * 1024 * config.vocabularySize;
  expect(plannedPart("activations")).toBeLessThan(8 * (between + 4 * tokens * inLayers) + logits);
}

test("layers are computed again only where there is no room without", () => {
  const deep = baseFromConfig("deep", { ...presetConfig("smollm2-135m"), layers: 12 });
  const planned = (room: number) => planMemory(deep, adapter, { ...size, free: free(room) });
  const fast = planned(100 * GB);
  expect(fast.rematerialise).toBe("none");
  const tight = planned(fast.plan.bytes - 1e6);
  expect(tight.rematerialise).toBe("layers");
  expect(tight.plan.bytes).toBeLessThan(fast.plan.bytes);
  expect(leastMemory(deep, adapter, size)).toEqual(tight.plan);
});

test("layers of a large model are computed again wherever it runs", () => {
  const large = baseFromConfig("large", presetConfig("llama2-7b"));
  const rows = { ...size, baseDtype: "int4" as const, batchSize: 1, maxLength: 512 };
  const planned = planMemory(large, adapter, { ...rows, free: free(100 * GB) });
  expect(planned.rematerialise).toBe("layers");
  const activations = planned.plan.parts.find(({ name }) => name === "activations")?.bytes;
  expect(activations).toBeLessThan(2 * GB);
});

test("a run without room is refused with its parts and with settings that were computed to fit", () => {
  const one = { ...size, batchSize: 1 };
  const roomy = planMemory(base, adapter, { ...one, free: free(100 * GB) }).plan;
  const alone = roomy.parts.find(({ name }) => name === "base")?.bytes ?? 0;
  const least = planMemory(base, adapter, { ...one, free: free(1.1 * alone) }).plan.bytes;
  const room = free(least * 1.1);
  const refused = (): unknown => requireRunMemory(base, adapter, { ...size, batchSize: 8, free: room });
  expect(refused).toThrow(
    expect.objectContaining({
      code: "memory",
      message: expect.stringMatching(
        /^training small needs about .* [MG]B \(base 1.* MB, .*activations .*\), and .* are free; what would fit: .*--batch-size [12] --gradient-accumulation-steps [48]/,
      ),
    }),
  );
  expect(requireRunMemory(base, adapter, { ...size, batchSize: 1, free: room }).plan.bytes).toBeLessThan(
    room.bytes,
  );
});

test("where the base alone is too large, only a smaller one is offered", () => {
  const refused = (): unknown =>
    requireRunMemory(
      baseFromConfig("wide", { ...presetConfig("smollm2-1.7b"), layers: 6, vocabularySize: 4096 }),
      adapter,
      { ...size, batchSize: 1, maxLength: 64, free: free(1.2 * GB) },
    );
  expect(refused).toThrow(/what would fit: --base-dtype int4 \(\d+ MB\)$/);
});

test("what nothing can make fit is said to be so", () => {
  expect(() => requireRunMemory(base, adapter, { ...size, free: free(1e8) })).toThrow(
    /no setting would fit here$/,
  );
});

test("a way that a base cannot be kept in is no remedy", () => {
  const odd = baseFromConfig("odd", { ...presetConfig("smollm2-135m"), layers: 2, hiddenSize: 568 });
  const refuse = (change: Partial<RunSize & { readonly free: FreeMemory }>) => (): unknown =>
    requireRunMemory(odd, adapter, { ...size, free: free(1e8), ...change });
  expect(refuse({})).toThrow(
    expect.objectContaining({
      code: "memory",
      message: expect.stringMatching(/no setting would fit here$/),
    }),
  );
  expect(refuse({ baseDtype: "int4" })).toThrow(expect.objectContaining({ code: "unsupported" }));
  const least = planMemory(odd, adapter, { ...size, batchSize: 1, maxLength: 128, free: free(100 * GB) });
  expect(refuse({ batchSize: 8, free: free(1.02 * least.plan.bytes) })).toThrow(
    /what would fit: --batch-size 1 --gradient-accumulation-steps 8 --max-length \d+ \(/,
  );
});
