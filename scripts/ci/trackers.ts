// Called by trackers.sh.
// usage: node --conditions=source --import tsx scripts/ci/trackers.ts PYTHON FOLDER
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { trackerServer, wandbStore } from "../../packages/mos/test/tracker-servers.ts";
import { freePort } from "../../packages/service/test/cluster.ts";

const [python = "python3", folder = "."] = process.argv.slice(2);
const TOKEN = "a-token";
const STEPS = 300;

interface Measured {
  readonly type: "step" | "evaluation";
  readonly step: number;
  readonly loss: number;
  readonly [field: string]: unknown;
}
const measured = (out: string): readonly Measured[] =>
  existsSync(join(out, "metrics.jsonl"))
    ? readFileSync(join(out, "metrics.jsonl"), "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line))
    : [];

type Point = readonly [name: string, step: number, value: number];
const losses = (out: string): readonly Point[] =>
  measured(out)
    .map(({ type, step, loss }) => [`${type === "step" ? "train" : "eval"}/loss`, step, loss] as const)
    .sort(byPlace);
const byPlace = ([a, i]: Point, [b, j]: Point): number => a.localeCompare(b) || i - j;

const env = {
  ...process.env,
  MLFLOW_DISABLE_TELEMETRY: "true",
  TRACKIO_WRITE_TOKEN: TOKEN,
  TRACKIO_DIR: join(folder, "trackio"),
};
const ask = (code: string) =>
  JSON.parse(execFileSync(python, ["-c", code], { env, encoding: "utf8" }).trim().split("\n").at(-1) ?? "");

/** A server that is killed as hard as can be, with its workers. */
async function startServer(command: readonly string[], url: string): Promise<ChildProcess> {
  const child = spawn(python, command, {
    env,
    stdio: ["ignore", "ignore", "inherit"],
    detached: true,
    cwd: folder,
  });
  for (let i = 0; i < 600; i++) {
    assert.equal(child.exitCode, null, `${command.join(" ")} has ended`);
    if (
      await fetch(url).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return child;
    await sleep(200);
  }
  throw new Error(`${command.join(" ")} does not answer`);
}
const kill = ({ pid }: ChildProcess): void => void (pid !== undefined && process.kill(-pid, "SIGKILL"));

const mos = (...args: string[]): ChildProcess =>
  spawn(
    process.execPath,
    ["--conditions=source", "--import", "tsx", "packages/mos/src/cli/main.ts", ...args],
    {
      env,
      stdio: ["ignore", "ignore", "inherit"],
    },
  );

/** Trains beside a server that is killed in the middle, and gives what the server has had when all is sent. */
async function trainBeside(tracker: string, command: readonly string[], url: string): Promise<string> {
  const out = join(folder, `${tracker}-run`);
  const track = ["--track", tracker, "--track-url", url, "--track-project", "tests"];
  let server = await startServer(command, url);
  try {
    const data = [
      "--data",
      "assets/quickstart/train.jsonl",
      "--steps",
      String(STEPS),
      "--evaluate-every",
      "50",
    ];
    const train = mos(
      "train",
      "--model",
      "assets/tiny-english",
      ...data,
      "--out",
      out,
      "--threads",
      "1",
      ...track,
    );
    const exited = once(train, "exit");
    while (measured(out).length < STEPS / 3 && train.exitCode === null) await sleep(50);
    kill(server);
    assert.equal(train.exitCode, null, "the run had ended before its tracker was killed");
    while (measured(out).length < (2 * STEPS) / 3 && train.exitCode === null) await sleep(50);
    server = await startServer(command, url);
    assert.deepEqual(await exited, [0, null], "the run without its tracker");
    assert.deepEqual(await once(mos("adapters", "track", out, ...track), "exit"), [0, null]);
    return out;
  } finally {
    kill(server);
  }
}

const mlflowPort = await freePort();
const store = `sqlite:///${join(folder, "mlflow.db")}`;
const mlflow = await trainBeside(
  "mlflow",
  [
    "-m",
    "mlflow",
    "server",
    "--backend-store-uri",
    store,
    "--host",
    "127.0.0.1",
    "--port",
    String(mlflowPort),
    "--workers",
    "1",
  ],
  `http://127.0.0.1:${mlflowPort}`,
);
const inMlflow = ask(`
import json, mlflow
client = mlflow.MlflowClient("${store}")
[run] = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
points = [[key, m.step, m.value] for key in ("train/loss", "eval/loss") for m in client.get_metric_history(run.info.run_id, key)]
print(json.dumps({"points": points, "status": run.info.status, "params": run.data.params}))
`);
assert.deepEqual([...inMlflow.points].sort(byPlace), losses(mlflow));
assert.equal(inMlflow.status, "FINISHED");
assert.equal(inMlflow.params["settings.steps"], String(STEPS));
console.log(
  `MLflow has the ${inMlflow.points.length} losses of a run once, though it was killed in the middle`,
);

const trackioPort = await freePort();
const trackio = await trainBeside(
  "trackio",
  [
    "-c",
    `import trackio; trackio.show(open_browser=False, block_thread=True, host="127.0.0.1", server_port=${trackioPort})`,
  ],
  `http://127.0.0.1:${trackioPort}`,
);
const inTrackio = ask(`
import json, pathlib, sqlite3
rows = sqlite3.connect("${join(folder, "trackio", "tests.db")}").execute("select step, metrics from metrics").fetchall()
print(json.dumps([[key, step, value] for step, metrics in rows for key, value in json.loads(metrics).items() if key.endswith("/loss")]))
`);
assert.deepEqual([...inTrackio].sort(byPlace), losses(trackio));
console.log(`Trackio has the ${inTrackio.length} losses of a run once, though it was killed in the middle`);

// the client of Weights & Biases and ours leave the same history at the server of the tests
const key = "k".repeat(40);
await using ours = await trackerServer(wandbStore(key));
await using theirs = await trackerServer(wandbStore(key));
Object.assign(env, {
  WANDB_API_KEY: key,
  WANDB_DIR: folder,
  WANDB_SILENT: "true",
  WANDB_BASE_URL: theirs.url,
});
const sent = mos(
  "adapters",
  "track",
  trackio,
  "--track",
  "wandb",
  "--track-url",
  ours.url,
  "--track-project",
  "tests",
);
assert.deepEqual(await once(sent, "exit"), [0, null]);
const rows = ours.rows().map(({ step, scalars }) => ({ "train/global_step": step, ...scalars }));
const client = spawn(
  python,
  [
    "-c",
    `
import json, sys, wandb
run = wandb.init(project="tests", entity="me", name="a", settings=wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off"))
for row in json.load(sys.stdin): run.log(row)
run.finish()
`,
  ],
  { env, stdio: ["pipe", "ignore", "inherit"] },
);
client.stdin.end(JSON.stringify(rows));
assert.deepEqual(await once(client, "exit"), [0, null]);
assert.deepEqual(ours.rows(), theirs.rows());
assert.deepEqual(
  ours.rows().map(({ step, scalars }) => [step, scalars["train/loss"] ?? scalars["eval/loss"]]),
  measured(trackio).map(({ step, loss }) => [step, loss]),
);
assert(ours.isFinished() && theirs.isFinished());
console.log(`Weights & Biases' client and ours write the same ${rows.length} rows`);
