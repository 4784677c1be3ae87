// Compares this engine with numbers that PyTorch computed.
// usage: npm run goldens -- DIR [--device cpu|webgpu|cuda]
// DIR is a folder with index.json, model folders, and one .safetensors for each case.
// Six losses that are too far off, beside gradients that are not, may be no error: AdamW's first updates have the signs of the
// gradients, so that rounding decides where one is near 0. `python scripts/make_2026_goldens.py --check DIR CASE` computes the case in
// float64 and tells; test/goldens-2026/README.md has an example.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { errorText } from "mixture-of-shards-core/common";
import { readModelConfig } from "mixture-of-shards-core/models";
import { DEVICES, type Device } from "mixture-of-shards-graph";
import { type GoldenEntry, readIndex, toAdapterConfig } from "./goldens/cases.ts";
import { type Comparison, compareCase, worst } from "./goldens/compare.ts";
import { type Check, compareObjective } from "./goldens/objectives.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: "string", default: "cpu" } },
});

/** What float32 allows: absolute on logits and loss, relative on gradients, deltas and the losses of the six steps. */
const ABSOLUTE = 1e-4;
const RELATIVE = 1e-3;
/** With a cache, where the reference rounds too. */
const STEPS = 1.5e-4;

function report(name: string, result: Comparison): boolean {
  const { logits, loss, gradients, deltas, losses, steps, packed } = result;
  const passed =
    logits.absolute <= ABSOLUTE &&
    loss.absolute <= ABSOLUTE &&
    worst(gradients.values()) <= RELATIVE &&
    worst(deltas.values()) <= RELATIVE &&
    (losses?.relative ?? 0) <= RELATIVE &&
    (packed?.absolute ?? 0) <= ABSOLUTE &&
    (steps?.absolute ?? 0) <= STEPS;
  const number = (x: number): string => x.toExponential(1);
  const trained = losses === undefined ? "" : `, six losses ${number(losses.relative)}`;
  const more = Object.entries({ steps, packed }).map(([name, found]) =>
    found === undefined ? "" : `, ${name} ${number(found.absolute)}`,
  );
  console.log(
    `${passed ? "pass" : "FAIL"}  ${name}: logits ${number(logits.absolute)}, loss ${number(loss.absolute)}, ` +
      `${gradients.size} gradients ${number(worst(gradients.values()))}, ${deltas.size} deltas ${number(worst(deltas.values()))}${trained}${more.join("")}`,
  );
  for (const [kind, all] of [
    ["gradient", gradients],
    ["delta", deltas],
  ] as const)
    for (const [tensor, { relative }] of all)
      console.log(
        `        ${kind} ${tensor}: ${number(relative)}${relative > RELATIVE ? "  too far off" : ""}`,
      );
  return passed;
}

function reportChecks(name: string, checks: readonly Check[]): boolean {
  const passed = checks.every(({ found, limit }) => found <= limit);
  const shown = checks.map(
    ({ what, found, limit }) => `${what} ${found.toExponential(1)}${found <= limit ? "" : " (too far off)"}`,
  );
  console.log(`${passed ? "pass" : "FAIL"}  ${name}: ${shown.join(", ")}`);
  return passed;
}

const [folder] = positionals;
const device = DEVICES.find((known) => known === values.device);
if (folder === undefined || device === undefined) {
  console.error(`usage: npm run goldens -- DIR [--device ${DEVICES.join("|")}]`);
  process.exit(2);
}
async function main(golden: string, on: Device): Promise<void> {
  const entries = await readIndex(golden);
  const bases = new Map<string, GoldenEntry>(entries.map((entry) => [entry.base, entry]));
  let passed = 0;
  let failed = 0;
  const count = (ok: boolean): void => {
    if (ok) passed++;
    else failed++;
  };
  // one case that cannot be run must not hide the others
  const attempt = async (name: string, compare: () => Promise<boolean | undefined>): Promise<void> => {
    try {
      const isPassed = await compare();
      if (isPassed === undefined) skipped.push(name);
      else count(isPassed);
    } catch (error) {
      console.log(`FAIL  ${name}: ${errorText(error)}`);
      count(false);
    }
  };
  const skipped: string[] = [];
  for (const [base, entry] of bases) {
    if (entry.objective !== undefined) continue;
    const name = `${base}.base`;
    await attempt(name, async () =>
      report(name, await compareCase(golden, entry, { config: undefined, device: on })),
    );
  }
  for (const entry of entries) {
    const { base, method, objective } = entry;
    const name = [base, method, ...(objective === undefined ? [] : [objective.name])].join(".");
    await attempt(name, async () => {
      const config = toAdapterConfig(entry, await readModelConfig(join(golden, base)));
      if (config === undefined) return undefined;
      return objective === undefined
        ? report(name, await compareCase(golden, entry, { config, device: on }))
        : reportChecks(name, await compareObjective(golden, { ...entry, objective }, { config, device: on }));
    });
  }
  if (skipped.length > 0) console.log(`not known to this version: ${skipped.join(", ")}`);
  console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

await main(folder, device).catch((error: unknown) => {
  console.error(`goldens: ${errorText(error)}`);
  process.exitCode = 1;
});
