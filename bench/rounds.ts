// Commands that are run by turns, so that other load on the machine affects all of them alike.
import { readFile, writeFile } from "node:fs/promises";
import { pathExists } from "mixture-of-shards-core/files";
import { median, rounded } from "./arguments.ts";
import { type Result, runForJson } from "./child.ts";

export interface Variant {
  readonly name: string;
  /** A command line that prints a JSON line at its end. */
  readonly command: string;
}

/** A number over the rounds. */
export interface Measured {
  readonly median: number;
  readonly least: number;
  readonly most: number;
  readonly rounds: number;
}

export type Measurements = (variant: string, field: string) => Measured;

/** What of a processor decides the speed of products in each type. */
export async function processorFlags(): Promise<readonly string[]> {
  const info = await readFile("/proc/cpuinfo", "utf8").catch(() => "");
  const flags = /^flags\s*:(.*)$/m.exec(info)?.[1]?.trim().split(/\s+/) ?? [];
  return flags.filter((flag) => /^(avx2|avx512f|avx512_(vnni|bf16|fp16)|avx_vnni|amx_\w+)$/.test(flag));
}

interface Kept {
  readonly flags: readonly string[];
  readonly runs: Readonly<Record<string, readonly Result[]>>;
}

interface RoundsOptions {
  readonly rounds: number;
  /** What the runs in the file are kept under, before their names. */
  readonly part?: string;
  /** A file that keeps all runs; those that it has are not repeated. */
  readonly out?: string | undefined;
  /** Called around a run, for what runs beside it. */
  readonly beside?: (name: string) => Disposable | undefined;
}

/** Runs every variant in each round, each in a process of its own. */
export async function runRounds(
  variants: readonly Variant[],
  { rounds, part = "", out, beside }: RoundsOptions,
): Promise<{ readonly flags: readonly string[]; readonly measured: Measurements }> {
  const kept: Kept =
    out !== undefined && (await pathExists(out))
      ? JSON.parse(await readFile(out, "utf8"))
      : { flags: await processorFlags(), runs: {} };
  const runs = new Map(Object.entries(kept.runs).map(([name, results]) => [name, [...results]]));
  const listRuns = (name: string): readonly Result[] => runs.get(`${part} ${name}`) ?? [];
  for (let round = 1; round <= rounds; round++)
    for (const { name, command } of variants) {
      if (listRuns(name).length >= round) continue;
      using _neighbour = beside?.(name);
      const result = await runForJson(name, command);
      runs.set(`${part} ${name}`, [...listRuns(name), result]);
      console.error(`${round}/${rounds} ${name}: ${JSON.stringify(result)}`);
      const record: Kept = { ...kept, runs: Object.fromEntries(runs) };
      if (out !== undefined) await writeFile(out, `${JSON.stringify(record, null, 2)}\n`);
    }
  const measured = (name: string, field: string): Measured => {
    const values = listRuns(name).map((result) => Number(result[field]));
    return {
      median: rounded(median(values), 2),
      least: Math.min(...values),
      most: Math.max(...values),
      rounds: values.length,
    };
  };
  return { flags: kept.flags, measured };
}
