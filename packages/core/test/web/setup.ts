// Before all tests of packages/core/src/web: its bundles are built, and one Chromium is started.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { bundleWeb } from "../../../../scripts/bundle-web.ts";
import { startChromium } from "../../../../test/chromium.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The folder of the bundles. */
    readonly bundles: string;
  }
}

/** WebGPU on the CPU: exact, and slow. */
const SOFTWARE_GPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/** Called by vitest; what it returns ends the browser. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "mos-web-"));
  await bundleWeb({ folder });
  const [test, source] = [import.meta.dirname, join(import.meta.dirname, "../../src")];
  await bundleWeb({
    folder,
    entries: {
      "files-worker": join(test, "files-worker.ts"),
      rpc: join(source, "common/rpc.ts"),
      channel: join(source, "web/channel.ts"),
    },
  });
  project.provide("bundles", folder);
  const end = await startChromium(project, SOFTWARE_GPU);
  return async () => {
    await end();
    await rm(folder, { recursive: true });
  };
}
