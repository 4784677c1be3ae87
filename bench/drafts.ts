// Decoding of one stream with and without drafts, where the text repeats and where it does not (see docs/explanation/benchmarks.md).
import { readFile, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  createModelRunner,
  LocalCore,
  type ModelRunner,
  type TokenLogprob,
  unpackLogprobs,
} from "mixture-of-shards-core/inference";
import { loadModelText, openModel, toLayerShapes } from "mixture-of-shards-core/models";
import { openAdapterManager } from "../packages/core/src/inference/adapters/manager.ts";
import { planDrafts } from "../packages/core/src/inference/drafts.ts";
import { openWeights } from "../packages/core/src/inference/open-core.ts";
import type { SequenceUpdate } from "../packages/core/src/inference/sequence.ts";
import { fail, median, printResult, readArguments, rounded } from "./arguments.ts";
import { runForJson } from "./child.ts";
import { TASKS } from "./draft-tasks.ts";

const HELP = `usage: bench:drafts -- --model FILE.gguf [--replay FILE.json] [--llama DIR] [--rounds 3] [--json]

Answers tasks one at a time, greedily, each with drafts and without: passages to repeat, to correct and to extract from, and
questions. Printed: decoded tokens a second, behind the first token of each answer; and how many answers differ, with the
log-probabilities between the two tokens where they part.

  --save FILE.json    write prompts and answers
  --replay FILE.json  answers that another model saved, whose vocabulary is not larger: after each step the saved token is
                      made the likeliest. Random weights have the speed of a model, but repeat nothing
  --llama DIR         a folder with node-llama-cpp, which decodes one stream in each round
  --new N (200)       --draft-tokens N (7)   --threads N (2)   --float32`;

const given = readArguments(HELP, {
  values: ["model", "save", "replay", "llama", "rounds", "new", "draft-tokens", "threads"],
  flags: ["json", "float32"],
});
const path = given.text("model") ?? fail(HELP);
const [threads, limit] = [given.number("threads", 2), given.number("new", 200)];

interface Transcript {
  readonly kind: string;
  readonly prompt: readonly number[];
  readonly answer: readonly number[];
}

const replay = given.text("replay");
const replayed: readonly Transcript[] | undefined =
  replay === undefined ? undefined : JSON.parse(await readFile(replay, "utf8"));

async function readTasks(): Promise<readonly Transcript[]> {
  await using files = await openModel(path);
  const { template, tokenizer } = await loadModelText(files.source);
  return TASKS.map(({ kind, user }) => {
    const text = template.render([{ role: "user", content: user }], { addGenerationPrompt: true });
    return { kind, prompt: [...tokenizer.encode(text)], answer: [] };
  });
}

const tasks = replayed ?? (await readTasks());

/** The transcript that runs: its tokens are the likeliest after each step. */
let forced: Transcript | undefined;

const forcing = (runner: ModelRunner): ModelRunner => ({
  ...runner,
  async run(step) {
    const start = runner.cache.lengths[step.from] ?? 0;
    const logits = await runner.run(step);
    if (forced === undefined) return logits;
    const all = [...forced.prompt, ...forced.answer];
    const [rows = []] = logits;
    const computed = step.tokens[0]?.length ?? 0;
    for (const [i, row] of rows.entries()) row[all[start + computed - rows.length + i + 1] ?? 0] = 1e4;
    return logits;
  },
});

let submitted = 0;
let onUpdate: (update: SequenceUpdate) => void = () => undefined;

/** An engine whose answers come one at a time. */
async function openStream(draftTokens: number) {
  const dtype = given.flag("float32") ? { computeDtype: "float32" as const } : {};
  const opened = await openWeights({ model: path, ...dtype }, { onProgress: () => undefined });
  const { config, fingerprint, weights, tokenizer, maxLength, cacheMemory, computeDtype, twice } = opened;
  const options = { maxLength, adapters: false, session: { threads }, twice };
  const runner = await createModelRunner(weights, options);
  const drafts = await planDrafts(runner, { draftTokens, adapters: false, maxLength, device: "cpu" });
  const now = (): number => performance.now();
  const adapters = await openAdapterManager({
    shapes: toLayerShapes(config),
    fingerprint,
    source: {},
    limitBytes: 0,
    maxRank: 1,
    dtype: "float32",
    now,
  });
  const limits = {
    maxBatch: 1,
    slotMemory: 1e9,
    cacheMemory,
    prefillChunk: 128,
    lonePrefillChunk: 512,
    scoringChunk: 1,
  };
  const core = new LocalCore({
    runner: forcing(runner),
    adapters,
    tokenizer,
    endTokens: [...tokenizer.eosTokens],
    limits,
    now,
    drafts,
  });
  core.start({
    onAdapters: () => undefined,
    onOutput(updates) {
      for (const update of updates) onUpdate(update);
    },
  });
  return { core, computeDtype, drafts };
}

/** Ids of an answer, and the milliseconds behind its first one. */
async function decode(core: LocalCore, { prompt, answer }: Transcript, logprobs?: number) {
  const ids: number[] = [];
  const scores: TokenLogprob[] = [];
  const times: number[] = [];
  onUpdate = ({ events, error }) => {
    if (error !== undefined) fail(error.message);
    for (const event of events) {
      if (event.type === "finish") ended();
      if (event.type !== "token") continue;
      ids.push(event.id);
      scores.push(...unpackLogprobs(event));
      times.push(performance.now());
    }
  };
  let ended = (): void => undefined;
  const end = new Promise<void>((resolved) => {
    ended = resolved;
  });
  core.submit(++submitted, {
    prompt,
    adapter: null,
    maxTokens: logprobs !== undefined ? 1 : replayed === undefined ? limit : Math.min(limit, answer.length),
    ...(logprobs === undefined ? {} : { logprobs }),
    sampling: {},
    seed: 0,
    stop: [],
    stopTokens: [],
    ignoreEos: replayed !== undefined,
    minTokens: 0,
    continuesPrompt: false,
    tenant: `${submitted}`,
  });
  await end;
  return { ids, scores, tokens: ids.length - 1, milliseconds: (times.at(-1) ?? 0) - (times[0] ?? 0) };
}

/** How much less likely than the plain answer's token the other one is, where two answers part. */
async function gapBetween(
  { prompt, kind }: Transcript,
  plain: readonly number[],
  drafted: readonly number[],
) {
  const at = drafted.findIndex((id, i) => id !== plain[i]);
  const parting = { kind, prompt: [...prompt, ...plain.slice(0, at)], answer: [] };
  const { scores } = await decode(streams.plain.core, parting, 20);
  const of = (id: number | undefined): number =>
    scores[0]?.top.find((one) => one.id === id)?.logprob ?? Number.NEGATIVE_INFINITY;
  return Math.abs(of(plain[at]) - of(drafted[at]));
}

const draftTokens = given.number("draft-tokens", 7);
const streams = { drafts: await openStream(draftTokens), plain: await openStream(0) };
const modes = ["plain", "drafts"] as const;

/** Of each kind and mode, tokens a second of all its tasks in one round. */
const speeds = new Map<string, number[]>();
const add = (name: string, speed: number): void =>
  void speeds.set(name, [...(speeds.get(name) ?? []), speed]);
const saved: Transcript[] = [];
/** Of answers that drafts changed, how much less likely the other token was. */
const gaps: number[] = [];

for (let round = 0; round < given.number("rounds", 3); round++) {
  const sums = new Map<string, { tokens: number; milliseconds: number }>();
  for (const task of tasks) {
    forced = replayed === undefined ? undefined : task;
    const found: (readonly number[])[] = [];
    for (const mode of modes) {
      const { ids, tokens, milliseconds } = await decode(streams[mode].core, task);
      found.push(ids);
      const name = `${task.kind} ${mode}`;
      const sum = sums.get(name) ?? { tokens: 0, milliseconds: 0 };
      sums.set(name, { tokens: sum.tokens + tokens, milliseconds: sum.milliseconds + milliseconds });
    }
    const [own = [], drafted = []] = found;
    if (round === 0 && `${own}` !== `${drafted}`) gaps.push(await gapBetween(task, own, drafted));
    if (round === 0) saved.push({ ...task, answer: found[0] ?? [] });
  }
  for (const [name, { tokens, milliseconds }] of sums) add(name, (1000 * tokens) / milliseconds);
  const llama = given.text("llama");
  if (llama === undefined) continue;
  const command = `cd ${llama} && node ${resolve("bench/peers/llama_decode.mjs")} ${resolve(path)} 1 64 ${threads}`;
  add("llama.cpp", Number((await runForJson("llama.cpp", command))["new_tokens_per_s"]));
}

const save = given.text("save");
if (save !== undefined) await writeFile(save, JSON.stringify(saved));
const stats = await streams.drafts.core.stats();
const kinds = [...new Set(tasks.map(({ kind }) => kind))];
const speedAt = (name: string): number => rounded(median(speeds.get(name) ?? []), 1);
const ratios = (name: string): string => {
  const all = (speeds.get(`${name} drafts`) ?? []).map((x, i) => x / (speeds.get(`${name} plain`)?.[i] ?? x));
  return `${rounded(median(all), 2)} (${rounded(Math.min(...all), 2)}–${rounded(Math.max(...all), 2)})`;
};
printResult(
  {
    compute: streams.drafts.computeDtype,
    ...Object.fromEntries(
      kinds.flatMap((kind) => [
        ...modes.map((mode) => [`${kind}_${mode}_tokens_per_s`, speedAt(`${kind} ${mode}`)] as const),
        [`${kind}_ratio`, ratios(kind)] as const,
      ]),
    ),
    ...(speeds.has("llama.cpp") ? { llama_tokens_per_s: speedAt("llama.cpp") } : {}),
    same_up_to: streams.drafts.drafts.sameUpTo,
    ...{ answers: tasks.length, differing: gaps.length, largest_gap: rounded(Math.max(0, ...gaps), 3) },
    drafted: stats.draftTokens,
    accepted: stats.acceptedTokens,
  },
  given.flag("json"),
);
for (const { core } of Object.values(streams)) await core[Symbol.asyncDispose]();
