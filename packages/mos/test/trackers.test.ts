import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { completeTracking } from "../src/trackers/kinds.ts";
import { trackRun } from "../src/trackers/track.ts";
import { mlflowStore, trackerServer, trackioStore, wandbStore } from "./tracker-servers.ts";

const KEY = "a-secret";
const STORES = {
  mlflow: mlflowStore,
  wandb: () => wandbStore(KEY),
  trackio: () => trackioStore(KEY),
} as const;
const NAMES = ["mlflow", "wandb", "trackio"] as const;

let folder: string;
let run: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-trackers-"));
  run = join(folder, "acme");
  await mkdir(run);
  const settings = { steps: 9, targetLoss: 0, warmup: 0, epochs: 1, batchSize: 2, maxLength: 64 };
  const more = { learningRate: 0.001, evaluateEvery: 5, earlyStoppingPatience: 0 };
  const record = {
    computeDtype: "float32",
    settings: { ...settings, ...more },
    adapter: { method: "mos", rank: 8 },
  };
  await writeFile(join(run, "run.json"), JSON.stringify(record));
});
afterEach(() => rm(folder, { recursive: true }));

const step = (at: number) => ({
  ...{ type: "step", step: at, loss: 2 / at, accuracy: 0.5, seconds: 0.1 * at, learningRate: 1e-3 },
  ...{ gradientNorm: 1, tokens: 20, metrics: { "rewards/margins": at } },
});
const evaluation = (at: number) => ({
  type: "evaluation",
  step: at,
  loss: 3 / (at + 1),
  accuracy: 0.25,
  seconds: 1,
});

/** Measures some steps, with an evaluation after each fifth. */
async function measure(from: number, to: number): Promise<void> {
  const measured: object[] = from === 1 ? [evaluation(0)] : [];
  for (let at = from; at <= to; at++) measured.push(step(at), ...(at % 5 === 0 ? [evaluation(at)] : []));
  await appendFile(join(run, "metrics.jsonl"), measured.map((one) => `${JSON.stringify(one)}\n`).join(""));
}

/** What a tracker must have then, in the order of steps. */
const measured = (to: number) =>
  Array.from({ length: to + 1 }, (_, at) => [
    ...(at === 0 ? [] : [["train", at, 2 / at]]),
    ...(at % 5 === 0 ? [["eval", at, 3 / (at + 1)]] : []),
  ]).flat();

type Server = Awaited<ReturnType<typeof trackerServer>>;
const stored = ({ rows }: Pick<Server, "rows">) =>
  rows()
    .map(({ step: at, scalars }) =>
      "train/loss" in scalars ? ["train", at, scalars["train/loss"]] : ["eval", at, scalars["eval/loss"]],
    )
    .sort(([a, i], [b, j]) => Number(i) - Number(j) || String(b).localeCompare(String(a)));

const away: string[] = [];
beforeEach(() => void away.splice(0));
const track = (to: (typeof NAMES)[number], { url }: Pick<Server, "url">, patience = 5000) =>
  trackRun(run, {
    ...{
      to,
      url,
      project: "tests",
      key: to === "mlflow" ? undefined : KEY,
      name: "acme",
      now: () => 1_790_000_000_000.25,
    },
    ...{ patience, onAway: (reason: string) => void away.push(reason) },
  });

describe.each(NAMES)("%s", (to) => {
  test("gets every row once, with the settings, while the run goes on and at its end", async () => {
    await using server = await trackerServer(STORES[to]());
    await measure(1, 7);
    const tracking = await track(to, server);
    await vi.waitFor(() => expect(stored(server)).toEqual(measured(7)), { timeout: 5000 });
    await measure(8, 230);
    expect(await tracking.end({ isComplete: true })).toBe(true);
    expect(stored(server)).toEqual(measured(230));
    expect(server.rows().find(({ scalars }) => "train/loss" in scalars)?.scalars).toMatchObject({
      "train/rewards/margins": 1,
      "train/learning_rate": 1e-3,
      "train/tokens_per_second": 200,
    });
    expect(server.isFinished()).toBe(true);
    const { "settings.batchSize": batchSize, "adapter.method": method } = server.config();
    expect([String(batchSize), method]).toEqual(["2", "mos"]);
    expect(away).toEqual([]);
  });

  test("has every row once after it was killed in the middle, and answers were lost", async () => {
    await using server = await trackerServer(STORES[to]());
    const tracking = await track(to, server);
    await measure(1, 6);
    await vi.waitFor(() => expect(stored(server)).toEqual(measured(6)), { timeout: 5000 });
    server.kill();
    await measure(7, 12);
    await vi.waitFor(() => expect(away).toEqual([expect.stringContaining(to)]), { timeout: 5000 });
    server.loseAnswers(2);
    await server.start();
    await measure(13, 20);
    expect(await tracking.end({ isComplete: true })).toBe(true);
    expect(stored(server)).toEqual(measured(20));
  });

  test("that is away stops nothing, and gets what it has missed later, also what a resumed run makes again", async () => {
    await using server = await trackerServer(STORES[to]());
    await measure(1, 6);
    expect(await (await track(to, server)).end({ isComplete: false })).toBe(true);
    server.kill();
    await measure(7, 8);
    expect(await (await track(to, server, 300)).end({ isComplete: true })).toBe(false);
    expect(away.at(-1)).toMatch(/mos adapters track/);
    await server.start();
    // a checkpoint at the fourth step, after which the steps take other times
    const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).split("\n");
    await writeFile(join(run, "metrics.jsonl"), `${lines.slice(0, 5).join("\n")}\n`);
    const again = await track(to, server);
    for (const at of [5, 6, 7, 8]) {
      const made = [{ ...step(at), seconds: 7 }, ...(at === 5 ? [evaluation(at)] : [])];
      await appendFile(join(run, "metrics.jsonl"), made.map((one) => `${JSON.stringify(one)}\n`).join(""));
    }
    expect(await again.end({ isComplete: true })).toBe(true);
    expect(stored(server)).toEqual(measured(8));
  });
});

test("MLflow keeps one run where a request for it was given up, and made another one later", async () => {
  await using server = await trackerServer(STORES.mlflow());
  server.delayNext("/runs/create");
  await measure(1, 6);
  const tracking = await track("mlflow", server);
  await vi.waitFor(() => expect(stored(server)).toEqual(measured(6)), { timeout: 10_000 });
  server.kill(); // so that the run is looked for again
  await measure(7, 8);
  await vi.waitFor(() => expect(away).toHaveLength(2), { timeout: 10_000 });
  await server.start();
  expect(await tracking.end({ isComplete: true })).toBe(true);
  expect(stored(server)).toEqual(measured(8));
  expect(server.isFinished()).toBe(true);
});

test("names that MLflow refuses are written as it takes them, and its own tags are left alone", async () => {
  await using server = await trackerServer(STORES.mlflow());
  await measure(1, 2);
  const record = JSON.parse(await readFile(join(run, "run.json"), "utf8"));
  const settings = { ...record.settings, weights: { "data/a,b.jsonl": 2, "data/a;b.jsonl": 3 } };
  await writeFile(join(run, "run.json"), JSON.stringify({ ...record, settings }));
  const tags = ["a/b?", "a/b!", "mos.run", "mlflow.runName"];
  const options = { to: "mlflow", project: "tests", name: "acme", ...server } as const;
  expect(await (await trackRun(run, { ...options, tags })).end({ isComplete: true })).toBe(true);
  expect(server.config()).toMatchObject({ "settings.weights.data_a_b.jsonl": "3" });
  expect(stored(server)).toEqual(measured(2));
});

test("a run whose folder was lost goes on at its tracker under the same id", async () => {
  await using server = await trackerServer(STORES.wandb());
  const options = {
    to: "wandb",
    project: "tests",
    name: "acme",
    id: "job-1",
    key: KEY,
    url: server.url,
  } as const;
  await measure(1, 6);
  await (await trackRun(run, options)).end({ isComplete: false });
  for (const file of ["tracking.json", "metrics.jsonl"]) await rm(join(run, file));
  await measure(1, 9);
  await (await trackRun(run, options)).end({ isComplete: true });
  expect(stored(server)).toEqual(measured(9));
  expect(new Set(server.seen.filter((path) => path.includes("file_stream")))).toHaveLength(1);
});

test("a folder without a run stays as it was", async () => {
  await rm(join(run, "run.json"));
  await expect(track("trackio", { url: "http://127.0.0.1:1" })).rejects.toThrow();
  expect(await readdir(run)).toEqual([]);
});

test("a run that is tracked elsewhere from now on is there from its beginning", async () => {
  await using first = await trackerServer(STORES.trackio());
  await using second = await trackerServer(STORES.wandb());
  await measure(1, 3);
  await (await track("trackio", first)).end({ isComplete: false });
  await (await track("wandb", second)).end({ isComplete: true });
  expect(stored(second)).toEqual(measured(3));
});

test("a key that is not right is told, and not shown", async () => {
  await using server = await trackerServer(wandbStore("another"));
  await measure(1, 2);
  expect(await (await track("wandb", server, 300)).end({ isComplete: true })).toBe(false);
  expect(away[0]).toMatch(/^wandb at http:\/\/127\.0\.0\.1:\d+ answered 401: .*invalid API key/);
  expect(away.join()).not.toContain(KEY);
});

describe("the variables of a tracker's own client", () => {
  test("say where it is, and what options say goes first", () => {
    const environment = {
      MLFLOW_TRACKING_URI: "http://a",
      MLFLOW_TRACKING_TOKEN: "t",
      MLFLOW_EXPERIMENT_NAME: "e",
    };
    expect(completeTracking({ to: "mlflow" }, environment)).toEqual({
      ...{ to: "mlflow", url: "http://a", project: "e", key: "t" },
    });
    const named = { ...environment, MLFLOW_TRACKING_USERNAME: "u", MLFLOW_TRACKING_PASSWORD: "p" };
    expect(completeTracking({ to: "mlflow", url: "http://b", project: "x" }, named)).toEqual({
      ...{ to: "mlflow", url: "http://b", project: "x", user: "u", key: "p" },
    });
    expect(completeTracking({ to: "wandb" }, { WANDB_API_KEY: "k", WANDB_ENTITY: "team" })).toEqual({
      ...{ to: "wandb", url: "https://api.wandb.ai", project: "mos", key: "k", entity: "team" },
    });
  });

  test("are asked for where they are missing", () => {
    expect(() => completeTracking({ to: "trackio" }, {})).toThrow(/TRACKIO_SERVER_URL/);
    expect(() => completeTracking({ to: "wandb" }, { WANDB_API_KEY: " " })).toThrow(/WANDB_API_KEY/);
  });

  test.each([
    "databricks",
    "sqlite:///runs.db",
    "http://u:hidden@host",
    "http://host:99999",
    "http://h?a=hidden",
  ])("must hold an address, which %s is not", (url) => {
    const error = expect.objectContaining({
      code: "bad_option",
      message: expect.stringMatching(/^(?!.*hidden).*MLFLOW_TRACKING_URI/),
    });
    expect(() => completeTracking({ to: "mlflow", url }, {})).toThrow(error);
  });

  test("may hold a path, whose last slash is nothing of it", () => {
    expect(completeTracking({ to: "mlflow", url: "https://a/b/" }, {})).toMatchObject({ url: "https://a/b" });
  });
});
