// An adapter that is trained anew again and again while it is served: the real commands, on the bundled model.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { openEngine } from "mixture-of-shards-core/inference";
import { afterEach, beforeEach, expect, test } from "vitest";
import { collectAnswer } from "../../../core/test/inference/tiny-engine.ts";

const MODEL = "assets/tiny-english";
const REQUEST = { prompt: "Customer: when can I come in?\n", max_tokens: 12, temperature: 0 };
/** 240 a minute. */
const BETWEEN_REQUESTS = 250;

let folder: string;
let served: string;
let children: ChildProcess[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-retrain-"));
  served = join(folder, "served");
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

function start(...args: readonly string[]): ChildProcess {
  const main = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
  const child = spawn(process.execPath, [...main, ...args, "--json"], { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  return child;
}

/** Trains t1; after its third step the run gets the signal, if one is given. */
async function train(seed: number, options: readonly string[], signal?: NodeJS.Signals): Promise<void> {
  const child = start(
    ...["train", "--model", MODEL, "--data", "assets/quickstart/train.jsonl", "--out", join(served, "t1")],
    ...[
      "--method",
      "lora",
      "--rank",
      "4",
      "--learning-rate",
      "1e-2",
      "--max-length",
      "128",
      "--validation-split",
      "4",
    ],
    ...["--batch-size", "2", "--steps", "16", "--save-every", "2", "--seed", String(seed), ...options],
  );
  let errors = "";
  child.stderr?.on("data", (data) => {
    errors += data;
  });
  const closed = once(child, "close");
  for await (const line of createInterface(child.stdout!)) {
    const event = JSON.parse(line);
    if (signal !== undefined && event.type === "step" && event.step === 3) child.kill(signal);
  }
  const expected = { SIGINT: [130, null], SIGKILL: [null, "SIGKILL"] } as Record<string, unknown[]>;
  expect(await closed, errors).toEqual(expected[signal ?? ""] ?? [0, null]);
}

const tensors = () => readFile(join(served, "t1", "adapter_model.safetensors"));

test("requests never fail, and each is answered by one whole version, while an adapter is trained anew", async () => {
  /** A copy of the adapter as it is now. */
  const versions: string[] = [];
  const keepCopy = async (): Promise<void> => {
    const copy = join(folder, `version-${versions.length}`);
    await cp(join(served, "t1"), copy, { recursive: true });
    versions.push(copy);
  };
  await train(0, []);
  await keepCopy();

  const server = start("serve", "--model", MODEL, "--adapters", served, "--port", "0");
  server.stderr?.resume(); // its log would fill the pipe, and hold it
  const [ready] = (await once(createInterface(server.stdout!), "line")) as [string];
  const { address } = JSON.parse(ready);
  const answers: { readonly status: number; readonly text: string }[] = [];
  const ask = async (): Promise<void> => {
    const response = await fetch(`${address}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "t1", ...REQUEST }),
    });
    const body = await response.text();
    answers.push({
      status: response.status,
      text: response.status === 200 ? JSON.parse(body).choices[0].text : body,
    });
  };
  let isAsking = true;
  const asking = (async () => {
    while (isAsking) await Promise.all([ask(), sleep(BETWEEN_REQUESTS)]);
  })();
  /** Until the server has looked at the folder, and has answered with what is there. */
  const settle = (): Promise<void> => sleep(7000);

  await train(1, ["--overwrite"]);
  await keepCopy();
  await settle();

  const second = await tensors();
  await train(2, ["--overwrite"], "SIGINT");
  expect(await tensors()).toEqual(second);
  await train(2, ["--resume"]);
  await keepCopy();
  await settle();

  const third = await tensors();
  await train(3, ["--overwrite"], "SIGKILL");
  expect(await tensors()).toEqual(third);
  await train(3, ["--overwrite"]);
  await keepCopy();
  await settle();

  isAsking = false;
  await asking;
  server.kill("SIGTERM");
  await once(server, "close");

  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  const alone: string[] = [];
  for (const version of versions) {
    await using engine = await openEngine({ model: MODEL, inProcess: true, adapters: { t1: version } });
    alone.push(
      (await collectAnswer(engine.complete(REQUEST.prompt, { adapter: "t1", maxTokens: REQUEST.max_tokens })))
        .text,
    );
  }
  expect(new Set(alone).size, alone.join(" | ")).toBe(4);
  const given = answers.map(({ text }) => alone.indexOf(text));
  expect(given).toEqual([...given].sort());
  expect([...new Set(given)]).toEqual([0, 1, 2, 3]);
  expect(answers.length).toBeGreaterThan(100);
  expect((await readdir(served)).sort()).toEqual([".t1.versions", "t1"]);
  expect((await readdir(join(served, ".t1.versions"))).sort()).toEqual(["1", "2", "3"]);
});
