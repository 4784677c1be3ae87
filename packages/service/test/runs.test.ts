// Jobs as runs: a tenant's own, in pages, with what their events have measured.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createExtension, openExpired } from "../src/extension.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { queueJob } from "./queued-job.ts";
import { makeServer, type TestServer } from "./server.ts";

const unused = async (): Promise<never> => {
  throw new Error("not used here");
};
const widths = { in: 64, out: 64 };
const shapes = {
  layers: 8,
  widths: {
    ...{ q_proj: widths, k_proj: widths, v_proj: widths, o_proj: widths },
    ...{ gate_proj: widths, up_proj: widths, down_proj: widths },
  },
};

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let server: TestServer;
  beforeAll(async () => {
    opened = await openTables(open);
    const { stores, objects } = opened;
    const extension = createExtension({
      model: { name: "base", shapes, hiddenSize: 64, path: "" },
      checkRun: () => undefined,
      publisher: { use: () => undefined, fetch: unused },
      unpublish: unused,
      expired: openExpired(stores.models),
      service: {
        ...stores,
        objects,
        preview: unused,
        checkFile: unused,
        grading: { grade: unused },
        webhookPorts: [443],
      },
    });
    server = await makeServer({
      extension,
      keys: { find: async (name) => ({ name, isAdmin: name === "root", mayUse: () => true }) },
    });
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await opened.database.query("truncate jobs, files, models, events, checkpoints");
  });

  const get = async (path: string, key = "acme") =>
    await server.send(path, undefined, { authorization: `Bearer ${key}` });

  let events = 0;
  const addMetric = (job: string, data: object) =>
    opened.database.query(
      "insert into events (id, job, name, level, type, message, data) values ($1, $2, $1, 'info', 'metrics', '', $3)",
      [`event-${events++}`, job, data],
    );
  const addStep = (job: string, step: number, loss: number) =>
    addMetric(job, {
      ...{ type: "step", step, loss, accuracy: 0.5, learningRate: 0.001, gradientNorm: 2 },
      ...{ tokens: 1000, seconds: 2 },
    });
  const addEvaluation = (job: string, step: number, loss: number) =>
    addMetric(job, { type: "evaluation", step, loss, accuracy: 0.5, seconds: 2 });

  test("a job is a run with its settings, and its events are measurements", async () => {
    const { id } = await queueJob(opened, { mos: { rank: 6, steps: 8 } });
    await addEvaluation(id, 0, 6);
    await addStep(id, 1, 5);
    const [run] = (await get("/v1/runs")).json.data;
    expect(run).toMatchObject({
      ...{ id, object: "run", kind: "job", status: "queued", tenant: "acme", method: "mos" },
      ...{ step: 1, total_steps: null, loss: 5, validation_loss: 6, error: null, fine_tuned_model: null },
    });
    expect(run.settings).toMatchObject({ rank: 6, steps: 8, schedule: "linear", equivalent_rank: 2 });
    expect(run.trainable_parameters).toBeGreaterThan(0);
    await addStep(id, 2, 4);
    await addEvaluation(id, 2, 3);
    expect((await get(`/v1/runs/${id}`)).json).toMatchObject({
      step: 2,
      loss: 4,
      best_step: 2,
      sparkline: [5, 4],
    });
    expect((await get(`/v1/runs/${id}/metrics?from_step=2`)).json).toEqual({
      object: "run.metrics",
      training: {
        ...{ step: [2], loss: [4], learning_rate: [0.001], gradient_norm: [2], tokens_per_second: [500] },
      },
      validation: { step: [2], loss: [3] },
      last_step: 2,
    });
  });

  test("a job says what it has taught and what is lost, as its events do", async () => {
    const { id } = await queueJob(opened);
    const say = (name: string, message: string) =>
      opened.database.query(
        "insert into events (id, job, name, level, type, message) values ($1, $2, $3, 'info', 'message', $4)",
        [`event-${events++}`, id, name, message],
      );
    const outcome = async () => (await get(`/v1/runs/${id}`)).json.outcome;
    await say("warning-guessing", "no better than guessing");
    expect(await outcome()).toBeNull();
    await say("outcome", "Kept: all.");
    expect(await outcome()).toEqual({ text: "Kept: all.", warning: null });
    await say("warning-forgotten", "much is lost");
    expect(await outcome()).toEqual({ text: "Kept: all.", warning: "much is lost" });
  });

  test("a job that began again shows its new measurements", async () => {
    const { id } = await queueJob(opened);
    for (const step of [1, 2, 3]) await addStep(id, step, step);
    expect((await get(`/v1/runs/${id}`)).json).toMatchObject({ step: 3 });
    await addStep(id, 1, 9);
    expect((await get(`/v1/runs/${id}`)).json).toMatchObject({ step: 1, loss: 9, sparkline: [9] });
    expect((await get(`/v1/runs/${id}/metrics`)).json.training.loss).toEqual([9]);
  });

  test("a key sees its tenant's runs, an administrator all, in pages without a gap", async () => {
    const own: string[] = [];
    for (let i = 0; i < 5; i++) own.push((await queueJob(opened)).id);
    const other = await queueJob(opened, { tenant: "zeta" });
    // as made in one transaction
    await opened.database.query("update jobs set created_at = '2026-01-01' where tenant = 'acme'");
    const seen: string[] = [];
    let after = "";
    for (let hasMore = true; hasMore; ) {
      const { json } = await get(`/v1/runs?limit=2${after}`);
      seen.push(...json.data.map((run: { id: string }) => run.id));
      hasMore = json.has_more;
      after = `&after=${json.last_id}`;
    }
    expect(seen).toEqual(own.toSorted().reverse());
    expect((await get("/v1/runs", "root")).json.data).toHaveLength(6);
    expect((await get("/v1/runs", "root")).json.data[0].id).toBe(other.id);
    for (const path of [other.id, `${other.id}/metrics`]) {
      expect((await get(`/v1/runs/${path}`)).status).toBe(404);
      expect((await get(`/v1/runs/${path}`, "root")).status).toBe(200);
    }
    expect((await get(`/v1/runs?after=${other.id}`)).json.error.param).toBe("after");
  });
});
