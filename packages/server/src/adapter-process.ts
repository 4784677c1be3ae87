// The process that reads or converts one adapter for adapter-tasks.ts: its factors may take gigabytes, and seconds to compute.
import { cp } from "node:fs/promises";
import { join } from "node:path";
import {
  ADAPTER_FILES,
  type AdapterLayers,
  openAdapterFolder,
  readAdapterLayers,
} from "mixture-of-shards-core/adapters";
import { MosError } from "mixture-of-shards-core/common";
import { exportAdapter } from "mixture-of-shards-core/convert";
import { makeFolder } from "mixture-of-shards-core/files";
import { readModelConfig, singularFactors } from "mixture-of-shards-core/models";
import { serveParent } from "mixture-of-shards-core/process";
import type { ExportOrder } from "./adapter-tasks.ts";

const methods = {
  layers: async ({ adapter, model }: Pick<ExportOrder, "adapter" | "model">): Promise<AdapterLayers> =>
    readAdapterLayers(adapter, { model: await readModelConfig(model), singular: singularFactors(model) }),

  /** Returns the digest of what was exported. */
  export: async ({ adapter, model, format, out }: ExportOrder): Promise<string> => {
    await using folder = await openAdapterFolder(adapter);
    const digest = await folder.digest();
    if (format === "mos") {
      await makeFolder(out);
      for (const name of ADAPTER_FILES) await cp(join(adapter, name), join(out, name));
    } else
      await exportAdapter({
        adapter,
        model,
        format,
        out: format === "gguf" ? join(out, "adapter.gguf") : out,
        // the server's engine has compared them when it registered the adapter
        isBaseKnown: true,
        withModelfile: false, // one file is sent
      });
    if (!(await folder.isCurrent()))
      throw new MosError("busy", "the adapter was replaced while it was read; retry");
    return digest;
  },
};

export type AdapterMethods = typeof methods;
serveParent(methods);
