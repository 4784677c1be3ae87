// Training files and jobs as the routes would store them.
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { ObjectStore } from "#objects";
import { type FileRow, type JobRow, jobRequestSchema, type Stores, toTrainingPlan } from "#store";

type NewFile = Parameters<Stores["files"]["add"]>[0];

/** A training file of "acme", whose content need not be stored. */
export const addTrainingFile = (stores: Stores, file: Partial<NewFile> = {}): Promise<FileRow> =>
  stores.files.add({
    tenant: "acme",
    purpose: "fine-tune",
    filename: "a.jsonl",
    bytes: 3,
    digest: "a".repeat(64),
    status: "processed",
    status_details: null,
    ...file,
  });

interface QueuedJob {
  readonly tenant?: string;
  readonly model?: string;
  readonly mos?: object;
  readonly method?: object;
  readonly integrations?: readonly object[];
  readonly seed?: number;
  readonly data?: Buffer;
  readonly validationData?: Buffer | undefined;
  readonly limits?: Parameters<Stores["jobs"]["create"]>[0]["limits"];
}

/** A job of "acme" on a stored training file. */
export async function queueJob(
  { stores, objects }: { readonly stores: Stores; readonly objects: ObjectStore },
  {
    tenant = "acme",
    model = "tiny",
    mos = {},
    method,
    integrations,
    seed = 1,
    data = Buffer.from("{}\n"),
    validationData,
    limits = {},
  }: QueuedJob = {},
): Promise<JobRow> {
  const add = async (content: Buffer): Promise<FileRow> =>
    addTrainingFile(stores, { tenant, ...(await objects.put(Readable.from([content]))) });
  const training = await add(data);
  const validation = validationData === undefined ? undefined : await add(validationData);
  const files = { training_file: training.id, validation_file: validation?.id };
  const request = jobRequestSchema.parse({ model, ...files, mos, method, integrations });
  const plan = toTrainingPlan(request, { seed, learningRate: 0.002 });
  return stores.jobs.create({ tenant, request, plan, training, validation, limits });
}

/** Takes what is due, or will be in a moment: a clock that is set back puts off what is due now. */
export async function untilDue<T>(take: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await take();
    if (found !== undefined) return found;
    await sleep(10);
  }
}
