// What everybody gets: training and serving with no option but model and data, beside PEFT and llama.cpp with theirs.
import { spawn } from "node:child_process";
import { join, resolve } from "node:path";
import { markdownTable } from "../packages/lab/src/evaluation/results.ts";
import { fail, readArguments, rounded } from "./arguments.ts";
import { processorFlags, runRounds, type Variant } from "./rounds.ts";

const HELP = `usage: bench:defaults -- --models DIR --llama DIR [--only PARTS] [--busy] [--rounds 3] [--out FILE.json] [--json]

Runs ours and the peers by turns, each in a process of its own, and prints the medians with the least and the most, our speed
and memory by each peer's beside the targets, and the processor's flags. Training at 1B aims at 0.45 of PEFT's memory. Three rounds of all parts take about 20 minutes on two cores.

  --models DIR        holds SmolLM2-135M-Instruct.Q4_1.gguf and llama3.2-1b.Q4_0.gguf (npm run random-model)
  --llama DIR         a folder with node-llama-cpp
  --only PARTS        of train, one and sixteen (streams), with commas; small- or large- before each means one model
  --busy              each run once more with a busy process beside it, and the share of the speed that it keeps:
                      training and one stream of the small model
  --python PROGRAM (python3)   --steps N: of training, the first is not counted (4)
  --out FILE          keeps all runs, and does not repeat those that it has`;

const given = readArguments(HELP, {
  values: ["models", "llama", "only", "rounds", "out", "python", "steps"],
  flags: ["busy", "json"],
});
const models = resolve(given.text("models") ?? fail(HELP));
const llama = resolve(given.text("llama") ?? fail(HELP));
const python = given.text("python") ?? "python3";
const steps = given.number("steps", 4);
const [small, large] = ["SmolLM2-135M-Instruct.Q4_1.gguf", "llama3.2-1b.Q4_0.gguf"].map((name) =>
  join(models, name),
) as [string, string];

const hasBfloat16 = (await processorFlags()).some((flag) => flag.endsWith("_bf16"));

/** What is measured of ours and of the peers, which are named. */
interface Part {
  readonly ours: string;
  readonly peers: Readonly<Record<string, string>>;
  /** Fields of the JSON lines: tokens a second of ours and theirs. */
  readonly fields: readonly [string, string];
  /** Least ratio to each peer. */
  readonly targets: Readonly<Record<string, number>>;
}

function trainPart(model: string, { shape, targets }: { shape: string; targets: Part["targets"] }): Part {
  const peft = `${python} bench/peers/peft_train.py ${model === large ? "llama3.2-1b" : model} ${shape}`;
  return {
    ours: `npm run -s bench:train -- --model ${model} ${shape} --json`,
    peers: { "PEFT float32": peft, ...(hasBfloat16 ? { "PEFT bfloat16": `${peft} --dtype bfloat16` } : {}) },
    fields: ["tokens_per_s", "tokens_per_s"],
    targets,
  };
}

const servePart = (model: string, streams: number, target: number): Part => ({
  // alone without drafts: random prompts have answers that repeat themselves, which drafts would win by (bench:drafts)
  ours: `npm run -s bench:serve -- --model ${model} --streams ${streams} ${streams === 1 ? "--adapters 0 --draft-tokens 0" : `--adapters ${streams}`} --json`,
  peers: {
    "llama.cpp": `cd ${llama} && node ${process.cwd()}/bench/peers/llama_decode.mjs ${model} ${streams} 64`,
  },
  fields: ["decode_tokens_per_s", "new_tokens_per_s"],
  targets: { "llama.cpp": target },
});

const PARTS: Readonly<Record<string, Part>> = {
  "small-train": trainPart(small, { shape: `--batch 4 --seq 256 --steps ${steps}`, targets: {} }),
  "large-train": trainPart(large, {
    shape: `--batch 1 --seq 256 --steps ${steps}`,
    targets: { "PEFT float32": 1.5, "PEFT bfloat16": 0.9 },
  }),
  "small-one": servePart(small, 1, 1.05),
  "large-one": servePart(large, 1, 1.05),
  "small-sixteen": servePart(small, 16, 1.5),
  "large-sixteen": servePart(large, 16, 1.5),
};
const BUSY_PARTS = ["small-train", "small-one"];
const BUSY_TARGET = 0.45;

const isBusy = given.flag("busy");
const asked = given.text("only")?.split(",") ?? [""];
const unknown = asked.find((one) => !Object.keys(PARTS).some((name) => name.endsWith(one)));
if (unknown !== undefined) fail(`--only ${unknown}: ${Object.keys(PARTS).join(", ")} are possible`);
const names = (isBusy ? BUSY_PARTS : Object.keys(PARTS)).filter((name) =>
  asked.some((one) => name.endsWith(one)),
);

const OURS = "ours";
const BUSY = " busy";

/** A loop that wants a core of its own. */
function startNeighbour(): Disposable {
  const child = spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" });
  return { [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

const listVariants = (name: string): readonly Variant[] => {
  const { ours, peers } = PARTS[name] as Part;
  const commands = Object.entries({ [OURS]: ours, ...peers });
  return commands.flatMap(([who, command]) => [
    { name: `${name} ${who}`, command },
    ...(isBusy ? [{ name: `${name} ${who}${BUSY}`, command }] : []),
  ]);
};

const { flags, measured } = await runRounds(names.flatMap(listVariants), {
  rounds: given.number("rounds", 3),
  out: given.text("out"),
  beside: (name) => (name.endsWith(BUSY) ? startNeighbour() : undefined),
});

interface Row {
  readonly part: string;
  readonly who: string;
  readonly tokensPerSecond: number;
  readonly least: number;
  readonly most: number;
  readonly gigabytes: number | undefined;
  /** Ours by this peer's. */
  readonly memoryRatio: number | undefined;
  /** Ours by this peer's, or with a busy process by the quiet speed. */
  readonly ratio: number | undefined;
  readonly target: number | undefined;
}

const known = (value: number): number | undefined => (Number.isNaN(value) ? undefined : value);

/** The table's rows of a part: ours, then ratios to each peer. */
function summarise(part: string): readonly Row[] {
  const { peers, fields, targets } = PARTS[part] as Part;
  const speed = (who: string, state = "") =>
    measured(`${part} ${who}${state}`, who === OURS ? fields[0] : fields[1]);
  return [OURS, ...Object.keys(peers)].map((who): Row => {
    const { median, least, most } = speed(who, isBusy ? BUSY : "");
    const memory = (one: string): number => measured(`${part} ${one}`, "peak_rss_gb").median;
    const against = isBusy ? median / speed(who).median : speed(OURS).median / median;
    return {
      part,
      who,
      tokensPerSecond: median,
      least,
      most,
      gigabytes: known(memory(who)),
      memoryRatio: who === OURS ? undefined : known(rounded(memory(OURS) / memory(who), 2)),
      ratio: who === OURS && !isBusy ? undefined : rounded(against, 2),
      target: isBusy ? (who === OURS ? BUSY_TARGET : undefined) : targets[who],
    };
  });
}

const rows = names.flatMap(summarise);
if (given.flag("json")) console.log(JSON.stringify({ flags, busy: isBusy, rows }));
else {
  const show = (value: number | undefined): string => (value === undefined ? "–" : String(value));
  console.log(`processor: ${flags.join(" ")}\n`);
  console.log(
    markdownTable([
      ["", "tokens/s", "peak GB", "its memory ×", isBusy ? "of the quiet speed" : "its speed ×", "target"],
      ...rows.map(({ part, who, tokensPerSecond, least, most, gigabytes, memoryRatio, ratio, target }) => [
        `${part}: ${who}`,
        `${tokensPerSecond} (${least}–${most})`,
        show(gigabytes),
        show(memoryRatio),
        show(ratio),
        show(target),
      ]),
    ]),
  );
}
