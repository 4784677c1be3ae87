// The add-on of mos: `mos worker`, and fine-tuning in `mos serve` where it is given a place for its state.
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { type AddOn, defineServeAddOn } from "mixture-of-shards/kit";
import { checkTrackers, HARMLESS, serveOptions } from "./options.ts";
import { keyLimits } from "./store/key-limits.ts";

const serve = defineServeAddOn({
  options: serveOptions,
  conflicts: [["state", "databaseUrl"]],
  check: ({ state, databaseUrl, storage = join(state ?? "", "storage"), ...more }, { adapters }) => {
    if (more.workers ?? state !== undefined) checkTrackers(more.trackers);
    if (adapters === undefined || (state ?? databaseUrl) === undefined) return;
    // the models of jobs are there, which a server without their keys must not serve
    const move = storage.startsWith("s3:") ? "" : `move its folders to ${join(storage, "adapters")}, or `;
    throw new MosError(
      "bad_option",
      `--adapters cannot be used with --state or --database-url: ${move}import each with POST /v1/models`,
    );
  },
  harmless: [...HARMLESS, "workers"],
  keyLimits,
  stopSeconds: ({ stopSeconds }) => stopSeconds,
  open: async ({ peftFolder, peftBaseName, peftServers = [], workers, ...options }, server) => {
    const { state, databaseUrl, storage } = options;
    if (state === undefined && databaseUrl === undefined) {
      if ((storage ?? workers ?? peftFolder) === undefined) return undefined;
      throw new MosError(
        "bad_option",
        "--storage, --workers and --peft-folder require --state or --database-url",
      );
    }
    const { openService } = await import("./service.ts");
    return openService({
      ...options,
      ...server,
      workers: workers ?? (state === undefined ? 0 : 1),
      peft:
        peftFolder === undefined
          ? undefined
          : { folder: peftFolder, baseName: peftBaseName ?? server.requestedModel, servers: peftServers },
    });
  },
});

export const addOn: AddOn = {
  commands: { worker: () => import("./command.ts") },
  serve: async () => serve,
};
