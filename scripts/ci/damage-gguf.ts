// A copy of a GGUF file with one thing wrong: usage: damage-gguf.ts FROM TO type|scale
import { readFile, writeFile } from "node:fs/promises";
import { openGguf } from "mixture-of-shards-core/files";

const NAME = "blk.0.attn_q.weight";
/** Q2_K, which is not read. */
const UNREAD = 10;
const INFINITE = 0x7c00;

const [from = "", to = "", how] = process.argv.slice(2);
await using file = await openGguf(from);
const bytes = await readFile(from);
if (how === "scale") bytes.writeUInt16LE(INFINITE, file.tensors.get(NAME)?.offset ?? 0);
else {
  // behind the name: the number of dimensions, the dimensions, the type
  const dimensions = bytes.indexOf(NAME) + NAME.length;
  bytes.writeUInt32LE(UNREAD, dimensions + 4 + 8 * bytes.readUInt32LE(dimensions));
}
await writeFile(to, bytes);
