// One case on Node, as a process of its own: a JSON line with the CPU time of an update or token, and the peak of its memory.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "#inference";
import { finetune } from "#training";
import { cpuSeconds, fail, rounded } from "../arguments.ts";
import { answerOf, type Case, PROMPT, trainingOf } from "./cases.ts";

const { model, work, count, threads } = JSON.parse(process.argv[2] ?? fail("usage: on-node.ts CASE")) as Case;

/** CPU seconds and time when each update or token had ended. */
const ends: { readonly cpu: number; readonly wall: number }[] = [];
const mark = (): void => void ends.push({ cpu: cpuSeconds(), wall: performance.now() / 1000 });

async function train(): Promise<void> {
  if (work === "decode") return;
  const folder = await mkdtemp(join(tmpdir(), "mos-bench-"));
  const options = { ...trainingOf(work, count), model, out: join(folder, "adapter"), session: { threads } };
  for await (const event of finetune(options)) if (event.type === "step") mark();
  await rm(folder, { recursive: true });
}

async function decode(): Promise<void> {
  await using engine = await openEngine({
    model,
    inProcess: true,
    weightCache: false,
    // as in a page, which has no int8 products
    computeDtype: "float32",
    threads,
  });
  for await (const event of engine.complete(PROMPT, answerOf(count))) if (event.type === "token") mark();
}

await (work === "decode" ? decode() : train());
const [first, last] = [ends[0], ends.at(-1)];
const each = (of: "cpu" | "wall"): number =>
  rounded((1000 * ((last?.[of] ?? Number.NaN) - (first?.[of] ?? 0))) / (ends.length - 1), 2);
console.log(
  JSON.stringify({
    cpuMs: each("cpu"),
    wallMs: each("wall"),
    peakMb: Math.round(process.resourceUsage().maxRSS / 1e3),
  }),
);
