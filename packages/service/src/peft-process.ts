// The process that writes adapters as plain LoRAs of PEFT, one after the other. It ends with its parent.
import { setPriority } from "node:os";
import { type ErrorCode, exportAdapter, MosError } from "mixture-of-shards";

/** An adapter, its base, and where the result goes. */
export type Conversion = Required<Pick<Parameters<typeof exportAdapter>[0], "adapter" | "model" | "out">> & {
  readonly baseName: string;
};

/** Result of a conversion. */
export interface Converted {
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

/** Converts an adapter, and reports a problem of it or of the disk. Any other error ends the process. */
async function convert(conversion: Conversion): Promise<Converted> {
  try {
    // where another server has written it meanwhile, it is the same; and jobs of the base have been trained on it
    await exportAdapter({ ...conversion, format: "peft", overwrite: true, isBaseKnown: true });
    return {};
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    return { error: { code: error.code, message: error.message } };
  }
}

setPriority(10); // requests come first
process.on("disconnect", () => process.exit());
process.on("message", async (conversion: Conversion) => {
  const converted = await convert(conversion);
  if (process.connected) process.send?.(converted);
});
