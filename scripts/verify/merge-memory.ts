// How much memory merging takes at the widths of a large model.
// usage: node --conditions=source --import tsx scripts/verify/merge-memory.ts FOLDER [LAYERS] [ADAPTER-JSON] [PRESET]
// Writes FOLDER/base (random float16 numbers at the widths of llama2-7b, in files of 1 GB; 0.4 GB a layer) and FOLDER/adapter, merges them in a process
// of its own as FOLDER/merged, and prints that process's peak of resident memory. FOLDER is left for a look.
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAdapter, parseAdapterConfig, saveAdapter } from "#adapters";
import { mergeAdapter, planMerge } from "#convert";
import { randomStream } from "#core";
import { openSafetensorsWriter } from "#files";
import { fingerprintOf, geometryOf, huggingFaceConfig, openModel, presetConfig } from "#models";

async function writeBase(folder: string, layers: number, preset: string): Promise<void> {
  const config = { ...presetConfig(preset), layers };
  const plan = planMerge(
    {
      path: folder,
      config,
      source: { kind: "folder", folder },
      dtypeOf: () => "F16",
      storedRows: () => {
        throw new Error("there is no file yet");
      },
    },
    { shardSize: 1e9 },
  );
  const random = randomStream(0, "base");
  const noise = Float32Array.from({ length: 1 << 20 }, () => 0.02 * random.normal());
  const files = new Map<string, string>();
  mkdirSync(folder, { recursive: true });
  for (const { file, tensors } of plan.shards) {
    await using writer = await openSafetensorsWriter(join(folder, file), tensors, { format: "pt" });
    for (const { name, shape } of tensors) {
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      for (let done = 0; done < data.length; done += noise.length)
        data.set(noise.subarray(0, Math.min(noise.length, data.length - done)), done);
      await writer.write(name, data);
      files.set(name, file);
    }
    await writer.commit();
  }
  const index = { metadata: { total_size: plan.bytes }, weight_map: Object.fromEntries(files) };
  writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(index));
  writeFileSync(join(folder, "config.json"), JSON.stringify(huggingFaceConfig(config, folder)));
}

async function writeAdapter(folder: string, base: string, settings: unknown): Promise<void> {
  await using model = await openModel(base);
  const adapter = createAdapter(parseAdapterConfig(settings), geometryOf(model.config));
  await saveAdapter(folder, adapter, { base: { name: model.name, fingerprint: await fingerprintOf(model) } });
}

async function merge(folder: string): Promise<void> {
  const started = performance.now();
  const options = {
    model: join(folder, "base"),
    adapter: join(folder, "adapter"),
    out: join(folder, "merged"),
  };
  for await (const event of mergeAdapter(options))
    if (event.type === "finish") {
      const seconds = (performance.now() - started) / 1000;
      const peak = (process.resourceUsage().maxRSS * 1024) / 1e9;
      console.log(
        `${(event.bytes / 1e9).toFixed(2)} GB of ${event.dtype} in ${event.files.length} files: ${seconds.toFixed(0)} s, peak ${peak.toFixed(2)} GB`,
      );
    }
}

const MOS = '{"method":"mos","rank":8,"equivalentRank":2}';
const [folder, layers = "8", settings = MOS, preset = "llama2-7b"] = process.argv.slice(2);
if (folder === undefined) throw new Error("usage: merge-memory.ts FOLDER [LAYERS] [ADAPTER-JSON]");
if (layers === "merge") await merge(folder);
else {
  rmSync(folder, { recursive: true, force: true });
  await writeBase(join(folder, "base"), Number(layers), preset);
  await writeAdapter(join(folder, "adapter"), join(folder, "base"), JSON.parse(settings));
  const [script = ""] = process.argv.slice(1);
  spawnSync(process.execPath, [...process.execArgv, script, folder, "merge"], { stdio: "inherit" });
}
