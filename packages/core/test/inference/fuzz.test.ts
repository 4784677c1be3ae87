// Random arrivals, cancellations, replaced and evicted adapters: every answer must be the one that its request gets alone,
// from the content of the adapter that answered.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Adapter, expandFactors, saveAdapter } from "#adapters";
import { MosError, type Random, randomStream } from "#common";
import type { Engine, EngineRequest } from "#inference";
import { toLayerShapes } from "#models";
import { runs } from "../../../../test/runs.ts";
import { openAdapterManager } from "../../src/inference/adapters/manager.ts";
import { randomAdapter } from "../random-adapter.ts";
import { type MemoryAdapters, memoryAdapters } from "./memory-adapters.ts";
import { type Answer, collectAnswer, config, request, tinyEngine } from "./tiny-engine.ts";

const NAMES = ["ann", "bob", "cy", "dee", "eve"];
const SETTINGS = [
  { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 },
  { method: "lora", rank: 2 },
  { method: "vera", rank: 4 },
  { method: "lora", rank: 5, targets: ["o_proj"] },
] as const;
const FINGERPRINT = "sha256:0123456789abcdef";

function trained(seed: number): Adapter {
  const settings = { seed, ...SETTINGS[seed % SETTINGS.length] };
  return randomAdapter(settings, toLayerShapes(config), { seed, deviation: 0.3, only: "trainable" });
}

interface Sent {
  readonly request: EngineRequest;
  readonly answer: Promise<Answer | MosError>;
}

/** The adapters' folder, and every content that a name has had. */
class Folder {
  readonly path: string;
  readonly contents = new Map<string, Adapter>();
  #seed = 0;
  readonly #random: Random;

  constructor(path: string, random: Random) {
    this.path = path;
    this.#random = random;
  }

  /** Saves a new content under a name and has the engine rescan the folder. */
  async replace(name: string, engine?: Engine): Promise<void> {
    const adapter = trained(this.#random.below(1000) * SETTINGS.length + this.#seed++);
    await saveAdapter(join(this.path, name), adapter, { base: { name: "tiny", fingerprint: FINGERPRINT } });
    if (engine === undefined) return;
    const info = (await engine.refreshAdapters()).find((one) => one.name === name);
    if (info !== undefined) this.contents.set(info.digest, adapter);
  }
}

/** Sends 60 requests, cancelling some and replacing adapters meanwhile. */
async function disturb(engine: Engine, folder: Folder, random: Random): Promise<readonly Sent[]> {
  const sent: Sent[] = [];
  const shared = Array.from({ length: 12 }, () => random.below(config.vocabularySize));
  for (let moment = 0; moment < 60; moment++) {
    const controller = new AbortController();
    const prompt = [
      ...shared.slice(0, random.below(shared.length)),
      ...Array.from({ length: 1 + random.below(6) }, () => random.below(config.vocabularySize)),
    ];
    const adapter = random.below(4) === 0 ? null : (NAMES[random.below(NAMES.length)] as string);
    const one = request({
      prompt,
      adapter,
      maxTokens: 1 + random.below(20),
      tenant: `tenant ${random.below(3)}`,
      signal: controller.signal,
      ...(random.below(3) === 0 ? { sampling: { temperature: 1 }, seed: moment } : {}),
    });
    const answer = collectAnswer(engine.submit(one)).catch((error: unknown) => {
      if (error instanceof MosError) return error;
      throw error;
    });
    sent.push({ request: one, answer });
    if (random.below(4) === 0) setTimeout(() => controller.abort(), random.below(20));
    if (random.below(6) === 0) await folder.replace(NAMES[random.below(NAMES.length)] as string, engine);
    if (random.below(2) === 0) await new Promise((resolve) => setTimeout(resolve, random.below(8)));
  }
  return sent;
}

/** Answers requests one at a time, with a given content of the adapter. */
class Reference implements AsyncDisposable {
  readonly #manager: MemoryAdapters;
  readonly #engine: Engine;

  constructor(manager: MemoryAdapters, engine: Engine) {
    this.#manager = manager;
    this.#engine = engine;
  }

  async answer({ signal: _, ...one }: EngineRequest, adapter: Adapter | undefined): Promise<Answer> {
    if (adapter !== undefined) this.#manager.replace("it", await expandFactors(adapter));
    return collectAnswer(this.#engine.submit({ ...one, adapter: adapter === undefined ? null : "it" }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#engine[Symbol.asyncDispose]());
  }
}

/** Whether the request was answered; the answer must be the one that it gets alone. */
async function check(
  { request: one, answer: pending }: Sent,
  { folder, reference }: { readonly folder: Folder; readonly reference: Reference },
): Promise<boolean> {
  const answer = await pending;
  if (answer instanceof MosError) throw answer;
  if (answer.digest === null && one.adapter !== null) {
    expect(answer.end.finishReason, "it never had a slot").toBe("cancelled");
    return false;
  }
  const content = answer.digest === null ? undefined : folder.contents.get(answer.digest);
  expect(content !== undefined).toBe(answer.digest !== null);
  const expected = await reference.answer(one, content);
  const isWhole = answer.end.finishReason !== "cancelled";
  expect(answer.ids).toEqual(isWhole ? expected.ids : expected.ids.slice(0, answer.ids.length));
  return true;
}

async function fuzz(seed: number, path: string): Promise<void> {
  const random = randomStream(seed, "fuzz");
  const folder = new Folder(path, random);
  for (const name of NAMES) await folder.replace(name);
  const manager = await openAdapterManager({
    source: path,
    shapes: toLayerShapes(config),
    fingerprint: FINGERPRINT,
    // room for about two adapters, so that they evict each other
    limitBytes: 12_000,
    dtype: "float32",
    now: () => performance.now(),
    pollSeconds: 0,
  });
  await using engine = await tinyEngine(manager, { maxBatch: 3, prefillChunk: 3, lonePrefillChunk: 6 });
  for (const name of NAMES) await folder.replace(name, engine);
  const alone = memoryAdapters(new Map());
  await using reference = new Reference(alone, await tinyEngine(alone, { maxBatch: 1 }));
  let answered = 0;
  for (const sent of await disturb(engine, folder, random))
    if (await check(sent, { folder, reference })) answered++;
  expect(answered).toBeGreaterThan(20);
  const stats = await engine.stats();
  expect(stats).toMatchObject({ waiting: 0, running: 0 });
  expect(stats.adapters.evictions).toBeGreaterThan(0);
}

test("every answer equals the one that its request gets alone", { timeout: 120_000 }, () =>
  fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 2 ** 31 }), async (seed) => {
      const path = await mkdtemp(join(tmpdir(), "fuzz-"));
      try {
        await fuzz(seed, path);
      } finally {
        await rm(path, { recursive: true, force: true });
      }
    }),
    // no shrinking: a smaller seed is not a simpler case
    { numRuns: runs(3), endOnFailure: true, examples: [[28]] },
  ),
);
