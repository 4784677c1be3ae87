// A socket in a folder as its lock: the kernel closes it with its process, however that ends. A file with a process number
// would mislead in containers, where the process before had the same one.
import { createHash } from "node:crypto";
import { chmod, rm } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { MosError } from "mixture-of-shards";
import { lockChanges, makePrivateFolder } from "mixture-of-shards/cli";

/** Sockets' paths are at most 107 bytes long. */
const MAX_PATH_BYTES = 100;

/** Windows has named pipes instead of sockets in folders. */
function socketAddress(folder: string): string {
  const name = createHash("sha256").update(resolve(folder)).digest("hex").slice(0, 32);
  if (process.platform === "win32") return `\\\\.\\pipe\\mixture-of-shards-${name}`;
  const inside = resolve(`${folder}.lock`);
  return Buffer.byteLength(inside) <= MAX_PATH_BYTES
    ? inside
    : join(tmpdir(), `mixture-of-shards-${name}.lock`);
}

const listenAt = (address: string): Promise<Server> =>
  new Promise((resolved, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen(address, () => resolved(server.unref()));
  });

const isHeld = (address: string): Promise<boolean> =>
  new Promise((resolved) => {
    const socket = connect(address);
    socket.once("connect", () => {
      socket.destroy();
      resolved(true);
    });
    // whatever else is wrong, nobody can say that the folder is free
    socket.once("error", (error: NodeJS.ErrnoException) =>
      resolved(!["ECONNREFUSED", "ENOENT"].includes(error.code ?? "")),
    );
  });

/**
 * Holds a folder for this process until it is disposed.
 *
 * @throws MosError `bad_option` where another process holds it.
 */
export async function holdFolder(folder: string): Promise<AsyncDisposable> {
  await makePrivateFolder(folder);
  const address = socketAddress(folder);
  const server = await listenAt(address).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== "EADDRINUSE") throw error;
    // one after the other, or the second would remove the socket of the first
    await using _change = await lockChanges(dirname(resolve(folder)));
    if (await isHeld(address))
      throw new MosError(
        "bad_option",
        `${folder} is in use by another process; stop it, choose another folder, or use --database-url for several processes`,
      );
    await rm(address, { force: true }); // left by a process that was killed
    return listenAt(address);
  });
  if (process.platform !== "win32") await chmod(address, 0o600);
  return {
    [Symbol.asyncDispose]: () => new Promise<void>((resolved) => server.close(() => resolved())),
  };
}
