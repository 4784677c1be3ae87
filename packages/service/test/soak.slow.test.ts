// A server that is used in every way at once, for as long as MOS_SOAK_SECONDS says (npm run test:soak: ten minutes): nothing
// fails but what has to, and neither memory nor the database grows after the first half.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type OpenAI from "openai";
import { APIError, toFile } from "openai";
import { expect, test } from "vitest";
import { type Serving, startServing } from "./serving.ts";

const SECONDS = Number(process.env["MOS_SOAK_SECONDS"] ?? 60);
const EXAMPLES = "assets/quickstart";
const TENANTS = ["acme", "zeta", "globex"] as const;

/** A client that does one thing again and again. */
interface Visitor {
  readonly name: string;
  /** One visit, its number counted from 0. */
  readonly visit: (client: OpenAI, turn: number) => Promise<unknown>;
}

const ask = (client: OpenAI, more: object = {}) =>
  client.chat.completions.create({
    model: "tiny",
    messages: [{ role: "user", content: "When do you open?" }],
    max_completion_tokens: 24,
    ...more,
  });

const schemas = (turn: number): readonly object[] => [
  { type: "object", properties: { open: { enum: [turn, turn + 1] } }, required: ["open"] },
  { type: "array", items: { type: "number", minimum: 0.5, maximum: turn + 1 }, maxItems: 3 },
  { type: "string", pattern: `^[a-z]{1,${1 + (turn % 20)}}$` },
  { type: "object", properties: { name: { const: `n${turn}` }, v: { type: "boolean" } }, required: ["v"] },
];

const python = (source: string) => ({ type: "python", name: "p", source });
const similar = {
  ...{ type: "text_similarity", name: "s", evaluation_metric: "rouge_l" },
  ...{ input: "{{sample.output_text}}", reference: "{{item.reference}}" },
};
const judge = {
  ...{ type: "score_model", name: "j", model: "tiny", sampling_params: { max_completions_tokens: 8 } },
  input: [{ role: "user", content: "Score: {{sample.output_text}}" }],
};

const runGrader = (client: OpenAI, grader: object) =>
  client.fineTuning.alpha.graders.run({
    grader: grader as OpenAI.FineTuning.Alpha.GraderRunParams["grader"],
    model_sample: "We open at ten.",
    item: { reference: "We open at nine." },
  });

async function upload(client: OpenAI, name: string): Promise<string> {
  const file = await toFile(await readFile(join(EXAMPLES, name)), name);
  return (await client.files.create({ file, purpose: "fine-tune" })).id;
}

const jobs = [
  { file: "train.jsonl", method: { type: "supervised" } },
  { file: "pairs.jsonl", method: { type: "dpo" } },
  {
    file: "prompts.jsonl",
    method: { type: "reinforcement", reinforcement: { grader: similar } },
    mos: { group_size: 2, max_completion_length: 8 },
  },
] as const;

async function trainOne(client: OpenAI, turn: number): Promise<void> {
  const { file, method, ...more } = jobs[turn % jobs.length] as (typeof jobs)[0] & { readonly mos?: object };
  const training_file = await upload(client, file);
  const validation_file = await upload(
    client,
    file.replace(".jsonl", "-validation.jsonl").replace("train-", ""),
  );
  const mos = { rank: 6, equivalent_rank: 2, steps: 4, max_length: 64, ...more.mos };
  const body = {
    model: "tiny",
    training_file,
    validation_file,
    method,
    mos,
  } as OpenAI.FineTuning.JobCreateParams;
  let job = await client.fineTuning.jobs.create(body);
  while (job.finished_at === null) {
    await sleep(500);
    job = await client.fineTuning.jobs.retrieve(job.id);
  }
  if (job.status !== "succeeded") throw new Error(`${file}: ${job.status}, ${job.error?.message}`);
  const model = job.fine_tuned_model ?? "";
  await ask(client, { model });
  await client.models.delete(model);
  for (const id of [training_file, validation_file]) await client.files.delete(id);
}

const visitors: readonly Visitor[] = [
  { name: "chat", visit: (client) => ask(client) },
  {
    name: "grammar",
    visit: (client, turn) => {
      const schema = schemas(turn)[turn % 4];
      return ask(client, { response_format: { type: "json_schema", json_schema: { name: "v", schema } } });
    },
  },
  {
    name: "grader",
    visit: (client, turn) =>
      runGrader(
        client,
        [similar, python("def grade(sample, item):\n    return 1"), judge][turn % 3] ?? similar,
      ),
  },
  {
    name: "embedding",
    visit: (client, turn) => client.embeddings.create({ model: "tiny", input: [`text ${turn}`, "another"] }),
  },
  {
    name: "feedback",
    visit: async (client, turn) => {
      const { id } = await client.responses.create({ model: "tiny", input: "Hi", max_output_tokens: 16 });
      await client.post("/feedback", { body: { response_id: id, rating: turn % 2 === 0 ? "up" : "down" } });
    },
  },
  {
    // what is wrong stays wrong: these are the only errors
    name: "mistake",
    visit: async (client, turn) => {
      const wrong = [
        () => ask(client, { model: "nobody" }),
        () => runGrader(client, { ...similar, evaluation_metric: "none" }),
        () =>
          ask(client, { response_format: { type: "json_schema", json_schema: { name: "v", schema: 1 } } }),
      ][turn % 3];
      await expect(wrong?.()).rejects.toMatchObject({ status: expect.any(Number) });
    },
  },
];

/** Bytes of memory of a process and all below it. */
async function memoryBelow(root: number | undefined): Promise<number> {
  const parents = new Map<number, number>();
  const resident = new Map<number, number>();
  for (const pid of await readdir("/proc")) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const [, parent] = /^PPid:\s+(\d+)/m.exec(status) ?? [];
    const [, kilobytes] = /^VmRSS:\s+(\d+)/m.exec(status) ?? [];
    if (parent === undefined || kilobytes === undefined) continue;
    parents.set(Number(pid), Number(parent));
    resident.set(Number(pid), 1024 * Number(kilobytes));
  }
  const isBelow = (pid: number | undefined): boolean =>
    pid !== undefined && (pid === root || isBelow(parents.get(pid)));
  return [...resident].reduce((sum, [pid, bytes]) => sum + (isBelow(pid) ? bytes : 0), 0);
}

async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(folder, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

interface Sample {
  readonly memory: number;
  readonly database: number;
}

/** Does everything until the time is over. */
async function soak(serving: Serving): Promise<{
  readonly visits: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
  readonly samples: readonly Sample[];
}> {
  const end = performance.now() + 1000 * SECONDS;
  const visits: Record<string, number> = {};
  const problems: string[] = [];
  const samples: Sample[] = [];
  const repeat = async ({ name, visit }: Visitor, tenant: string): Promise<void> => {
    const client = serving.client(tenant);
    for (let turn = 0; performance.now() < end; turn++) {
      try {
        await visit(client, turn);
        visits[name] = (visits[name] ?? 0) + 1;
      } catch (error) {
        const isBusy = error instanceof APIError && error.status === 429;
        if (!isBusy) problems.push(`${name}: ${String(error)}`);
      }
      await sleep(50);
    }
  };
  const watch = async (): Promise<void> => {
    for (; performance.now() < end; await sleep(5000))
      samples.push({
        memory: await memoryBelow(serving.process.pid),
        database: await folderBytes(join(serving.folder, "state/database/base")),
      });
  };
  await Promise.all([
    watch(),
    ...TENANTS.flatMap((tenant) => visitors.map((visitor) => repeat(visitor, tenant))),
    ...TENANTS.map((tenant) => repeat({ name: "job", visit: trainOne }, tenant)),
  ]);
  return { visits, problems, samples };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

test(
  "a server that is used in every way",
  async ({ annotate }) => {
    await using serving = await startServing([...TENANTS], { more: ["--slice-seconds", "2"] });
    const { visits, problems, samples } = await soak(serving);
    // a tenth of the time from the middle on, and the last tenth
    const tenth = Math.max(1, Math.floor(samples.length / 10));
    const middle = samples.slice(samples.length / 2).slice(0, tenth);
    const last = samples.slice(-tenth);
    const megabytes = (of: keyof Sample) =>
      [middle, last].map((part) => Math.round(median(part.map((sample) => sample[of])) / 1e6));
    const [memory, database] = [megabytes("memory"), megabytes("database")];
    await annotate(JSON.stringify({ visits, memory, database }));
    expect(problems).toEqual([]);
    expect(serving.lines.filter((line) => line.includes('"level":50'))).toEqual([]);
    expect(serving.process.exitCode).toBeNull();
    for (const name of [...visitors.map((visitor) => visitor.name), "job"])
      expect(visits[name], name).toBeGreaterThan(0);
    expect(memory[1]).toBeLessThan(1.05 * (memory[0] ?? 0) + 20);
    expect(database[1]).toBeLessThan(1.05 * (database[0] ?? 0) + 5);
  },
  1000 * (SECONDS + 120),
);
