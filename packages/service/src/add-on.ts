// The add-on of mos: `mos worker`, and fine-tuning in `mos serve` where it is given a place for its state.
import { MosError } from "mixture-of-shards";
import { type AddOn, defineServeAddOn } from "mixture-of-shards/cli";
import { HARMLESS, serveOptions } from "./options.ts";
import { keyLimits } from "./store/key-limits.ts";

const serve = defineServeAddOn({
  options: serveOptions,
  conflicts: [
    ["state", "databaseUrl"],
    // the models of jobs are in adapters of --storage, where others can be put as well
    ["adapters", "state"],
    ["adapters", "databaseUrl"],
  ],
  harmless: [...HARMLESS, "workers"],
  keyLimits,
  stopSeconds: ({ stopSeconds }) => stopSeconds,
  open: async ({ peftFolder, peftBaseName, workers, ...options }, server) => {
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
          : { folder: peftFolder, baseName: peftBaseName ?? server.requestedModel },
    });
  },
});

export const addOn: AddOn = {
  commands: { worker: () => import("./command.ts") },
  serve: async () => serve,
};
