import { createHash, webcrypto } from "node:crypto";
import type { ByteSource } from "#storage";

/** Pieces are hashed on threads of their own, so that the one that computes is not kept. */
const PIECE = 1 << 22;

/** Of an adapter's two files: SHA-256 over the digests of their pieces of 4 MiB. */
export async function contentDigest({
  config,
  tensors,
}: {
  readonly config: Uint8Array;
  readonly tensors: ByteSource;
}): Promise<string> {
  const hash = createHash("sha256").update(`${config.length} ${tensors.size}\n`).update(config);
  const buffer = new Uint8Array(Math.min(PIECE, tensors.size));
  for (let done = 0; done < tensors.size; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, tensors.size - done));
    await tensors.read(piece, done);
    hash.update(new Uint8Array(await webcrypto.subtle.digest("SHA-256", piece)));
  }
  return `sha256:${hash.digest("hex")}`;
}
