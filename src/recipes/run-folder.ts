import { createHash } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import type { EncodedExample } from "#data";
import { pathExists, readJson, writeFileAtomic } from "#formats";

/** Everything that decides a run's result. A resumed run must have the same. */
export type RunRecord = Readonly<Record<string, unknown>>;

const RECORD = "run.json";

/** sha256 over ids and labels: the data as the run sees it. */
export function dataDigest(examples: readonly EncodedExample[]): string {
  const hash = createHash("sha256");
  for (const { ids, labels } of examples) hash.update(Int32Array.of(ids.length)).update(ids).update(labels);
  return `sha256:${hash.digest("hex")}`;
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, v: unknown) =>
    v !== null && typeof v === "object" && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );

/** Refuses an out folder that already holds a run or an adapter, unless it is to be overwritten. */
export async function startRun(
  out: string,
  record: RunRecord,
  { overwrite }: { readonly overwrite: boolean },
): Promise<void> {
  await mkdir(out, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    throw new MosError("storage", `${out}: the folder cannot be made (${cause.code}); choose another --out`, {
      cause,
    });
  });
  const used = (await pathExists(join(out, RECORD))) || (await pathExists(join(out, "adapter_config.json")));
  if (used && !overwrite)
    throw new MosError(
      "bad_option",
      `${out} already holds a run or an adapter; continue it with --resume, replace it with --overwrite, or choose another --out`,
    );
  // the config goes first: without it the folder is no adapter, whatever else is left
  for (const name of [
    "adapter_config.json",
    "adapter_model.safetensors",
    "metrics.jsonl",
    "checkpoints",
    "best",
    RECORD,
  ])
    await rm(join(out, name), { recursive: true, force: true });
  await writeFileAtomic(join(out, RECORD), `${JSON.stringify(record, null, 2)}\n`);
}

/** Checks that the run in the folder is this one. Throws `not_found` or `bad_option`, naming what differs. */
export async function checkResume(out: string, record: RunRecord): Promise<void> {
  if (!(await pathExists(join(out, RECORD))))
    throw new MosError("not_found", `${out}: there is no run to resume; start it without --resume`);
  const before = await readJson(join(out, RECORD), z.record(z.string(), z.unknown()), { code: "bad_data" });
  const names = new Set([...Object.keys(before), ...Object.keys(record)]);
  const changed = [...names].filter(
    (name) => canonical(before[name]) !== canonical(JSON.parse(JSON.stringify(record))[name]),
  );
  if (changed.length > 0)
    throw new MosError(
      "bad_option",
      `${out} was started with other settings: ${changed.map((name) => differences(name, before[name], record[name])).join("; ")}. Give the same ones to resume`,
    );
}

function differences(name: string, before: unknown, now: unknown): string {
  if (!isPlain(before) || !isPlain(now))
    return `${name} was ${JSON.stringify(before)}, now ${JSON.stringify(now)}`;
  const keys = [...new Set([...Object.keys(before), ...Object.keys(now)])].filter(
    (key) => canonical(before[key]) !== canonical(now[key]),
  );
  return keys
    .map((key) => `${name}.${key} was ${JSON.stringify(before[key])}, now ${JSON.stringify(now[key])}`)
    .join("; ");
}

const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);
