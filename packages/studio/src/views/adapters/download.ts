// An adapter as a file on the reader's disk: one of the API's files as it is, or several in a ZIP.
import { api } from "#api";
import { saveFile } from "#core";

/** Formats of a download. */
export const FORMATS = [
  {
    format: "peft",
    title: "PEFT",
    says: "A plain LoRA for PEFT, transformers and vLLM, as a ZIP of two files",
  },
  { format: "gguf", title: "GGUF", says: "A LoRA for llama.cpp" },
  { format: "mos", title: "Original", says: "The adapter's own two files, as a ZIP" },
] as const;

export type Format = (typeof FORMATS)[number]["format"];

interface Downloaded {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The digest of the adapter that it was made of. */
  readonly version: string | null;
}

const ATTEMPTS = 3;

/** All files of one content: an adapter may be replaced between two requests. */
async function fetchFiles(adapter: string, format: Format): Promise<readonly Downloaded[]> {
  const path = "/v1/adapters/{name}/export";
  const params = { name: adapter };
  const { files } = await api.get(path, { params, query: { format } });
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found: Downloaded[] = [];
    for (const { name } of files) {
      const answer = await api.answer("GET", path, { params, query: { format, file: name } });
      const version = answer.headers.get("etag");
      found.push({ name, version, bytes: new Uint8Array(await answer.arrayBuffer()) });
    }
    if (new Set(found.map(({ version }) => version)).size === 1) return found;
  }
  throw new Error(`${adapter} keeps changing; download it when its training has finished`);
}

/** A name that every system can write: letters and digits of any language, and . _ - */
export const fileName = (adapter: string): string => adapter.replaceAll(/[^\p{L}\p{N}._-]+/gu, "-");

/** Downloads an adapter. Throws an ApiProblem. */
export async function downloadAdapter(adapter: string, format: Format): Promise<void> {
  const files = await fetchFiles(adapter, format);
  const [first] = files;
  const name = fileName(adapter);
  if (files.length === 1 && first !== undefined) return saveFile(`${name}.gguf`, first.bytes);
  const { zipSync } = await import("fflate");
  // weights hardly get smaller
  const zipped = zipSync(Object.fromEntries(files.map((file) => [`${name}/${file.name}`, file.bytes])), {
    level: 0,
  });
  saveFile(`${name}${format === "peft" ? "-peft" : ""}.zip`, zipped);
}
