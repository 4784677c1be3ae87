// An experiment whose adapters are trained as jobs of a service.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ReproduceOptions } from "../../src/reproduce/index.ts";
import { collectEvents } from "./events-of.ts";

const MODEL = "assets/tiny-english";
let folder: string;
let server: ChildProcess;
let url: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-lab-service-"));
  const main = ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts"];
  const options = [
    "--state",
    join(folder, "state"),
    "--no-keys",
    "--port",
    "0",
    "--threads",
    "1",
    "--json",
    "--quiet",
  ];
  server = spawn(process.execPath, [...main, "serve", "--model", MODEL, ...options], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface(server.stdout!), "line")) as [string];
  url = JSON.parse(line).address;
}, 120_000);
afterAll(async () => {
  server.kill("SIGTERM");
  await once(server, "exit");
  await rm(folder, { recursive: true });
});

const makeOptions = (out: string, more: Partial<ReproduceOptions>): ReproduceOptions => ({
  experiment: "table2",
  model: MODEL,
  train: "assets/quickstart/train.jsonl",
  evaluation: "assets/quickstart/validation.jsonl",
  seeds: 1,
  steps: 4,
  only: ["base", "lora-2", "mos-2"],
  training: { maxLength: 64, batchSize: 2 },
  evaluationExamples: 8,
  answers: 2,
  answerTokens: 4,
  threads: 1,
  out: join(folder, out),
  version: "1",
  ...more,
});

const results = (events: Awaited<ReturnType<typeof collectEvents>>) =>
  events.flatMap((event) => (event.type === "result" ? [{ ...event, seconds: 0 }] : []));

test("jobs of a service train what this machine would have trained", async () => {
  const here = await collectEvents(makeOptions("here", {}));
  const there = await collectEvents(makeOptions("there", { service: { url }, jobs: 2 }));
  expect(results(there)).toHaveLength(3);
  const byKey = (events: typeof here) => results(events).sort((a, b) => (a.trial.key < b.trial.key ? -1 : 1));
  expect(byKey(there)).toEqual(byKey(here));
  const read = async (out: string) =>
    JSON.parse(
      await readFile(join(folder, out, "cells", "mos-2", "seed-0-rate-0.001", "result.json"), "utf8"),
    );
  const [ours, theirs] = [await read("here"), await read("there")];
  for (const name of ["losses", "tokens", "trainable", "validationLoss"])
    expect(theirs[name]).toEqual(ours[name]);
  expect(theirs.losses).toHaveLength(4);
  // the same request finds the jobs that have ended: nothing is trained again
  await rm(join(folder, "there"), { recursive: true });
  const again = await collectEvents(makeOptions("there", { service: { url } }));
  expect(byKey(again)).toEqual(byKey(here));
  const jobs = (await (await fetch(`${url}/v1/fine_tuning/jobs`)).json()) as { data: unknown[] };
  expect(jobs.data).toHaveLength(2);
}, 300_000);

test("a service that cannot be reached, and settings that jobs do not have, fail the cells with a reason", async () => {
  const messages = async (more: Partial<ReproduceOptions>) =>
    (await collectEvents(makeOptions("failing", { only: ["lora-2"], ...more }))).flatMap((event) =>
      event.type === "failed" ? [event.message] : [],
    );
  expect(await messages({ service: { url: `${url}/nowhere` } })).toContainEqual(
    expect.stringContaining("the service answered 404"),
  );
  expect(await messages({ service: { url }, training: { maxLength: 64, maxExamples: 3 } })).toContainEqual(
    expect.stringContaining("--max-examples cannot be used with --service"),
  );
}, 120_000);
