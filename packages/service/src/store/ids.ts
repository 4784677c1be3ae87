import { randomBytes } from "node:crypto";

const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** 24 letters and digits: as hard to guess as a key. */
export function randomId(prefix: string): string {
  const bytes = randomBytes(24);
  return `${prefix}${Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join("")}`;
}

/** Bytes of each part: the whole is the name of a folder, which 255 bytes have to hold with what hides it for a while. */
const MAX_PART_BYTES = 40;

/** A part of a name: letters and digits of any language. */
function slug(text: string): string {
  let part = text.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-").replaceAll(/^[-.]+|[-.]+$/g, "");
  while (Buffer.byteLength(part) > MAX_PART_BYTES) part = [...part].slice(0, -1).join("");
  return part;
}

/** Prefix of the names of fine-tuned models, which no adapter of a folder has. */
const PREFIX = "ft:";

/** The name of a fine-tuned model as OpenAI has it: `ft:base:tenant:suffix:id`. */
export function modelName(job: {
  readonly id: string;
  readonly model: string;
  readonly tenant: string;
  readonly suffix: string | undefined;
}): string {
  const short = job.id.slice(-8);
  return `${PREFIX}${slug(job.model)}:${job.tenant}:${slug(job.suffix ?? "")}:${short}`;
}

/** Whether a name is that of a fine-tuned model of a base, or of one of its checkpoints. */
export const isFineTuned = (name: string, base: string): boolean =>
  name.startsWith(`${PREFIX}${slug(base)}:`);

/** The same without checkpoints. */
export const isFinalModel = (name: string, base: string): boolean =>
  isFineTuned(name, base) && !/:ckpt-step-\d+(-run-\d+)?$/.test(name);

/** The name of the model at a checkpoint. One of a run that was started anew is another model than that of the first run. */
export const checkpointName = (model: string, step: number, restarts: number): string =>
  `${model}:ckpt-step-${step}${restarts === 0 ? "" : `-run-${restarts + 1}`}`;

/** The tenant of a fine-tuned model; undefined for the name of another adapter. */
export const modelTenant = (name: string): string | undefined =>
  name.startsWith(PREFIX) ? name.split(":")[2] : undefined;
