import { decodeText, parseJson, parseWith } from "#core";
import { openSafetensors } from "#formats";
import type { ByteSource } from "#storage";
import type { Adapter } from "./create.ts";
import { CONFIG, savedFields } from "./folder-config.ts";
import type { AdapterConfig } from "./methods.ts";
import {
  checkTensors,
  type DrawTensor,
  type LoadAdapterOptions,
  readSettings,
  readTensors,
} from "./read-adapter.ts";

/** The two files of an adapter's folder, wherever their bytes are. */
export interface AdapterFiles {
  /** What messages call the folder. */
  readonly folder: string;
  /** The bytes of adapter_config.json. */
  readonly config: Uint8Array;
  /** adapter_model.safetensors */
  readonly tensors: ByteSource;
}

/** An adapter whose settings and tensors' names and shapes were checked, and whose numbers were not read yet. */
export interface OpenedAdapter extends AsyncDisposable {
  readonly config: AdapterConfig;
  /** Reads and checks the numbers. `draw` may give seeded tensors that are there already. */
  read(draw?: DrawTensor): Promise<Adapter>;
}

/**
 * Checks an adapter as far as its settings and the header of its tensors tell. `tensors` is closed with it.
 *
 * @throws MosError `bad_adapter`, `unsupported`.
 */
export async function openAdapterFiles(
  { folder, config: bytes, tensors }: AdapterFiles,
  options: LoadAdapterOptions,
): Promise<OpenedAdapter> {
  const { geometry } = options;
  const where = `${folder}/${CONFIG}`;
  const place = { code: "bad_adapter", where } as const;
  const file = await openSafetensors(tensors, { code: "bad_adapter" });
  try {
    const fields = parseWith(savedFields, parseJson(decodeText(bytes, place), place), place);
    const config = readSettings({ folder, where, fields }, options);
    checkTensors(file, config, options);
    return {
      config,
      read: async (draw) => ({
        config,
        geometry,
        tensors: await readTensors(file, config, { geometry, ...(draw === undefined ? {} : { draw }) }),
      }),
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}
