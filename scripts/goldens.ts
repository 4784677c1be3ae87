// Compares this engine with numbers that PyTorch computed.
// usage: npm run goldens -- DIR [--device cpu|webgpu|cuda]
// DIR is a folder with index.json, model folders, and one .safetensors for each case.
import { join } from "node:path";
import { parseArgs } from "node:util";
import { errorText } from "#core";
import { DEVICES, type Device } from "#graph";
import { readModelConfig } from "#models";
import { type GoldenEntry, readIndex, toAdapterConfig } from "./goldens/cases.ts";
import { type Comparison, compareCase, type Difference } from "./goldens/compare.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { device: { type: "string", default: "cpu" } },
});

/** What float32 allows: absolute on logits and loss, relative on gradients, deltas and the losses of the six steps. */
const ABSOLUTE = 1e-4;
const RELATIVE = 1e-3;

const worst = (differences: Iterable<Difference>): number =>
  Math.max(0, ...[...differences].map(({ relative }) => relative));

function report(name: string, result: Comparison): boolean {
  const { logits, loss, gradients, deltas, losses } = result;
  const passed =
    logits.absolute <= ABSOLUTE &&
    loss.absolute <= ABSOLUTE &&
    worst(gradients.values()) <= RELATIVE &&
    worst(deltas.values()) <= RELATIVE &&
    (losses?.relative ?? 0) <= RELATIVE;
  const number = (x: number): string => x.toExponential(1);
  const trained = losses === undefined ? "" : `, six losses ${number(losses.relative)}`;
  console.log(
    `${passed ? "pass" : "FAIL"}  ${name}: logits ${number(logits.absolute)}, loss ${number(loss.absolute)}, ` +
      `${gradients.size} gradients ${number(worst(gradients.values()))}, ${deltas.size} deltas ${number(worst(deltas.values()))}${trained}`,
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
  const attempt = async (name: string, compare: () => Promise<Comparison | undefined>): Promise<void> => {
    try {
      const result = await compare();
      if (result === undefined) skipped.push(name);
      else count(report(name, result));
    } catch (error) {
      console.log(`FAIL  ${name}: ${errorText(error)}`);
      count(false);
    }
  };
  const skipped: string[] = [];
  for (const [base, entry] of bases)
    await attempt(`${base}.base`, () => compareCase(golden, entry, { config: undefined, device: on }));
  for (const entry of entries)
    await attempt(`${entry.base}.${entry.method}`, async () => {
      const config = toAdapterConfig(entry, await readModelConfig(join(golden, entry.base)));
      return config && compareCase(golden, entry, { config, device: on });
    });
  if (skipped.length > 0) console.log(`not known to this version: ${skipped.join(", ")}`);
  console.log(`${passed} passed, ${failed} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ""}`);
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
}

await main(folder, device).catch((error: unknown) => {
  console.error(`goldens: ${errorText(error)}`);
  process.exitCode = 1;
});
