import { Readable } from "node:stream";
import type { ObjectStore } from "#objects";
import { type JobRow, type Jobs, jobRequestSchema, toTrainingPlan } from "#store";

/** A job of "acme" on a stored training file, as the routes would queue it. */
export async function queueJob(jobs: Jobs, objects: ObjectStore): Promise<JobRow> {
  const { digest, bytes } = await objects.put(Readable.from([Buffer.from("{}\n")]));
  const training = await jobs.addFile({
    tenant: "acme",
    purpose: "fine-tune",
    filename: "a.jsonl",
    bytes,
    digest,
    status: "processed",
    status_details: null,
  });
  const request = jobRequestSchema.parse({ model: "tiny", training_file: training.id });
  const plan = toTrainingPlan(request, { seed: 1, learningRate: 0.002 });
  return jobs.create({ tenant: "acme", request, plan, training, validation: undefined });
}
