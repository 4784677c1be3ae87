import { MosError } from "#core";
import type { Engine } from "#inference";
import type { SubjectRecord } from "./result.ts";
import type { EvaluateOptions } from "./settings.ts";

/** Why the engine does not list an adapter: asked for it, it says so. */
async function missing(engine: Engine, adapter: string): Promise<MosError> {
  const request = { prompt: [0], maxTokens: 0, seed: 0, tenant: "evaluation" };
  try {
    for await (const _ of engine.submit({ ...request, adapter })) break;
  } catch (error) {
    if (error instanceof MosError) return error;
    throw error;
  }
  return new MosError("not_found", `the engine has no adapter ${adapter}`);
}

/** Subjects with what made them. Throws `bad_option`, and why the engine does not list an adapter. */
export async function subjectsOf({
  subjects,
  engine,
  tasks: names,
}: EvaluateOptions): Promise<readonly SubjectRecord[]> {
  if (subjects.length === 0 || names.length === 0)
    throw new MosError("bad_option", "an evaluation needs a subject and a task at least");
  if (new Set(names).size < names.length)
    throw new MosError("bad_option", `a task is named twice in ${names.join(", ")}`);
  if (new Set(subjects.map(({ name }) => name)).size < subjects.length)
    throw new MosError(
      "bad_option",
      `two of ${subjects.map(({ name }) => name).join(", ")} have one name, and would share a log`,
    );
  const records: SubjectRecord[] = [];
  for (const { name, adapter } of subjects) {
    const info = engine.adapters().find((one) => one.name === adapter);
    if (adapter !== null && info === undefined) throw await missing(engine, adapter);
    records.push(
      info === undefined
        ? { name, digest: null }
        : { name, digest: info.digest, method: info.method, rank: info.rank },
    );
  }
  return records;
}
