// One case on Node, as a process of its own: a JSON line with the CPU time of an update or token, and the peak of its memory.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEngine } from "mixture-of-shards-core/inference";
import { finetune } from "mixture-of-shards-core/training";
import { cpuSeconds, fail } from "../arguments.ts";
import { answerOf, type Case, costOfEach, type Mark, PROMPT, trainingOf } from "./cases.ts";

const { model, work, count, threads } = JSON.parse(process.argv[2] ?? fail("usage: on-node.ts CASE")) as Case;

const marks: Mark[] = [];
const mark = (): void => void marks.push({ cpu: cpuSeconds(), wall: performance.now() / 1000 });

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
const peakMb = Math.round((process.resourceUsage().maxRSS * 1024) / 1e6);
console.log(JSON.stringify({ ...costOfEach(marks), peakMb }));
