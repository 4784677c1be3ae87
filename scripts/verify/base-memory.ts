// Peak memory of training, generating and serving on a large base, beside what the plan says of it.
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fail, readArguments } from "../../bench/arguments.ts";
import { type Watched, watch } from "../../bench/watched.ts";

const HELP = `usage: npm run verify:base-memory -- --model FILE --work DIR [--only train,resume,generate,serve,refuse]

With the build of this clone (npm run build): trains MoS (e = 2, r = 8) for two updates of one row of 512 tokens, kills the
same run after its first checkpoint and resumes it (the bytes must be the same), generates, serves in int4 with 16 slots
and 16 adapters, and asks for a float32 base. Printed: peaks (VmHWM), the plan's figure, seconds.

  --base-dtype NAME (stored)   of training and generating
  --compute-dtype NAME (float32)
  --memory-limit SIZE          of training
  --rank N (8)                 less where the model has few layers
  --adapters N (16)
  --cache-memory SIZE (1GB)    of serving, in float16`;

const given = readArguments(HELP, {
  values: [
    "model",
    "work",
    "only",
    "base-dtype",
    "compute-dtype",
    "adapters",
    "memory-limit",
    "rank",
    "cache-memory",
  ],
  flags: [],
});
const model = given.text("model") ?? fail(HELP);
const work = given.text("work") ?? fail(HELP);
const only = given.text("only")?.split(",");
const base = ["--model", model, "--base-dtype", given.text("base-dtype") ?? "stored"];
const training = [
  ...[
    "--compute-dtype",
    given.text("compute-dtype") ?? "float32",
    "--data",
    "assets/quickstart/train.jsonl",
    "--validation-split",
    "0",
  ],
  ...[
    "--batch-size",
    "1",
    "--max-length",
    "512",
    "--rank",
    given.text("rank") ?? "8",
    "--equivalent-rank",
    "2",
  ],
  ...["--steps", "2", "--save-every", "1", "--json"],
];
const limit = given.text("memory-limit");
if (limit !== undefined) training.push("--memory-limit", limit);
const at = (name: string): string => join(work, name);

/** The bytes that a run says it will need, before it begins. */
function planned({ output }: Watched): number | undefined {
  for (const line of output.split("\n").filter((text) => text.startsWith("{"))) {
    const event = JSON.parse(line) as { plan?: { bytes?: number } };
    if (typeof event.plan?.bytes === "number") return event.plan.bytes;
  }
  return undefined;
}

function report(what: string, watched: Watched, isRight = watched.code === 0): void {
  const plan = planned(watched);
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
  const ratio =
    plan === undefined ? "" : `, plan ${gigabytes(plan)} (${(watched.peak / plan).toFixed(2)} of it)`;
  console.log(
    `${isRight ? "ok  " : "BAD "} ${what}: peak ${gigabytes(watched.peak)}${ratio}, ${watched.seconds.toFixed(1)} s`,
  );
  if (!isRight) console.log(`${watched.output.slice(-500)}\n${watched.errors.slice(-1500)}`);
}

const adapterBytes = (folder: string): Promise<Buffer> => readFile(join(folder, "adapter_model.safetensors"));

const tasks: Readonly<Record<string, () => Promise<void>>> = {
  async train() {
    await rm(at("whole"), { recursive: true, force: true });
    report("train 1 × 512, 2 updates", await watch(["train", ...base, ...training, "--out", at("whole")]));
  },
  async resume() {
    await rm(at("halves"), { recursive: true, force: true });
    const out = ["train", ...base, ...training, "--out", at("halves")];
    const killed = await watch(out, {
      onOutput: (output) => (/"what":"checkpoint"/.test(output) ? "SIGKILL" : undefined),
    });
    console.log(`     killed after the first checkpoint, ${killed.seconds.toFixed(1)} s`);
    const resumed = await watch([...out, "--resume"]);
    const same = (await adapterBytes(at("whole"))).equals(await adapterBytes(at("halves")));
    report("resumed to the same bytes", resumed, resumed.code === 0 && same);
  },
  async generate() {
    const prompt = ["--prompt", "Tell the story of a lighthouse.", "--max-tokens", "16", "--json"];
    report("generate", await watch(["generate", ...base, "--adapter", at("whole"), ...prompt]));
  },
  async serve() {
    const count = given.number("adapters", 16);
    await rm(at("adapters"), { recursive: true, force: true });
    await mkdir(at("adapters"), { recursive: true });
    for (let i = 0; i < count; i++)
      for (const name of ["adapter_config.json", "adapter_model.safetensors"])
        await cp(join(at("whole"), name), join(at("adapters"), `tenant-${i}`, name));
    let asked = false;
    let answered = 0;
    const ask = async (url: string): Promise<void> => {
      const requests = Array.from({ length: 16 }, async (_, i) => {
        const body = {
          model: `tenant-${i % count}`,
          prompt: `${"lighthouse ".repeat(40)}${i}`,
          max_tokens: 32,
        };
        const response = await fetch(`${url}/v1/completions`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
        if (response.ok && (await response.json()) !== undefined) answered++;
        else console.log(await response.text());
      });
      await Promise.all(requests);
    };
    const cache = ["--cache-memory", given.text("cache-memory") ?? "1GB", "--cache-dtype", "float16"];
    const network = ["--port", "0", "--quiet", "--json", "--max-batch", "16", ...cache];
    const args = [
      "serve",
      "--model",
      model,
      "--base-dtype",
      "int4",
      "--adapters",
      at("adapters"),
      ...network,
    ];
    let stop = (): void => {};
    const served = await watch(args, {
      onOutput: (output) => {
        const url = /"address":"([^"]+)"/.exec(output)?.[1];
        if (url === undefined || asked) return undefined;
        asked = true;
        void ask(url).then(() => stop());
        return undefined;
      },
      stop: (end) => {
        stop = end;
      },
    });
    report(`serve int4, 16 slots, ${count} adapters, ${answered} of 16 answers`, served, answered === 16);
  },
  async refuse() {
    const refused = await watch([
      ...["train", "--model", model, "--base-dtype", "float32", ...training, "--out", at("refused")],
    ]);
    const isRight = refused.code !== 0 && refused.code !== null && refused.seconds < 2;
    report("a float32 base is refused", refused, isRight);
    console.log(refused.errors.trim() || refused.output.trim());
  },
};

await mkdir(work, { recursive: true });
for (const [name, task] of Object.entries(tasks)) if (only?.includes(name) ?? true) await task();
