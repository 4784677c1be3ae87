// OpenAI's own client, versions 6 and 7: jobs that learn from pairs of answers and from rewards, from their files to an answer.
import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { apiKey, baseURL, DATA, MODEL, QUESTION, visitJson } from "./served.mjs";

/** Few steps of a small adapter: what counts is the way, not the result. */
const settings = { mos: { rank: 6, equivalent_rank: 2, steps: 4, save_every: 2, max_length: 64 } };

for (const name of ["openai-6", "openai"]) {
  const { OpenAI } = await import(name);
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });

  const upload = async (file) =>
    (await client.files.create({ file: createReadStream(`${DATA}/${file}`), purpose: "fine-tune" })).id;

  /** Creates a job, waits for its end, and lets its model answer. */
  async function trained(body) {
    let job = await client.fineTuning.jobs.create({ model: MODEL, ...settings, ...body });
    while (job.finished_at === null) {
      await sleep(200);
      job = await client.fineTuning.jobs.retrieve(job.id);
    }
    assert.deepEqual([job.status, job.error], ["succeeded", null]);
    assert.equal(job.hyperparameters, null);
    const { choices } = await client.chat.completions.create({
      ...{ model: job.fine_tuned_model, max_tokens: 8, temperature: 0 },
      messages: [{ role: "user", content: QUESTION }],
    });
    assert.equal(choices.length, 1);
    const events = [];
    for await (const event of client.fineTuning.jobs.listEvents(job.id, { limit: 10 })) events.push(event);
    const metrics = events.filter(({ type }) => type === "metrics").map(({ data }) => data);
    const checkpoints = (await client.fineTuning.jobs.checkpoints.list(job.id)).data;
    const results = await (await client.files.content(job.result_files[0])).text();
    return { job, events, metrics, checkpoints, columns: results.split("\n")[0].split(",") };
  }

  describe(`${name}: fineTuning.jobs`, () => {
    test("dpo, and again from its model", async () => {
      const training_file = await upload("pairs.jsonl");
      const method = { type: "dpo", dpo: { hyperparameters: { beta: 0.2 } } };
      const first = await trained({ training_file, method });
      assert.equal(first.job.method.dpo.hyperparameters.beta, 0.2);
      assert.equal(first.metrics.filter((data) => "rewards/margins" in data).length, 4);
      assert.deepEqual(
        first.checkpoints.map(({ step_number }) => step_number),
        [4, 2],
      );
      assert.equal(typeof first.checkpoints[0].metrics["rewards/accuracies"], "number");
      assert.ok(first.columns.includes("logps/chosen"));
      const mos = { steps: 2 };
      const next = await trained({ training_file, method, mos, model: first.job.fine_tuned_model });
      // the reference is the model that it starts from
      assert.ok(Math.abs(next.metrics.find(({ step }) => step === 1)["rewards/margins"]) < 1e-3);
    });

    test("reinforcement, with a judge of the same server and answers of a form", async () => {
      const close = {
        ...{ type: "text_similarity", name: "close", evaluation_metric: "fuzzy_match" },
        ...{ input: "{{sample.output_json.part}} {{sample.output_text}}", reference: "{{item.reference}}" },
      };
      const judge = {
        ...{ type: "score_model", name: "judge", model: MODEL },
        input: [{ role: "user", content: "Score: {{sample.output_text}}" }],
        sampling_params: { max_completions_tokens: 24, temperature: 0 },
      };
      const graders = { close, judge };
      const grader = { type: "multi", name: "both", graders, calculate_output: "close + judge / 10" };
      const response_format = { type: "json_schema", json_schema: { name: "visit", schema: visitJson } };
      const hyperparameters = { batch_size: 2, compute_multiplier: 0.5, eval_interval: 2, eval_samples: 1 };
      const reinforcement = { grader, response_format, hyperparameters };
      const { job, metrics, checkpoints, columns } = await trained({
        training_file: await upload("prompts.jsonl"),
        validation_file: await upload("prompts-validation.jsonl"),
        method: { type: "reinforcement", reinforcement },
        mos: { rank: 6, equivalent_rank: 2, steps: 2, max_completion_length: 40 },
      });
      assert.deepEqual(job.method.reinforcement.response_format, response_format);
      assert.equal(job.method.reinforcement.hyperparameters.eval_samples, 1);
      const newest = metrics.find((data) => "full_valid_mean_reward" in data);
      assert.deepEqual(
        newest.scores.graders.map(({ name, type }) => [name, type]),
        [
          ["both", "multi"],
          ["close", "text_similarity"],
          ["judge", "score_model"],
        ],
      );
      assert.equal(newest.full_valid_mean_parse_error, 0);
      assert.equal(metrics.find((data) => data.step === 2 && "train_loss" in data).frac_ungraded, 0);
      assert.deepEqual(
        checkpoints.map(({ step_number }) => step_number),
        [2],
      );
      assert.ok(columns.includes("rewards/judge/mean"));
    });
  });
}
