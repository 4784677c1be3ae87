// A PostgreSQL of a test's own, that can be killed and started again.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { MosError } from "mixture-of-shards";
import { openPostgres } from "#database";

const run = promisify(execFile);

/** Where Debian has its programs. */
const VERSIONS = "/usr/lib/postgresql";

/** The folder of PostgreSQL's programs; undefined where it is not installed. */
export async function postgresPrograms(): Promise<string | undefined> {
  const versions = await readdir(VERSIONS).catch(() => []);
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  return newest === undefined ? undefined : join(VERSIONS, newest, "bin");
}

/** A running cluster. */
export interface Cluster extends AsyncDisposable {
  readonly url: string;
  /** Ends it as a power failure would, and starts it again after some seconds. */
  kill(seconds?: number): Promise<void>;
}

/** A port that nobody listens at. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** PostgreSQL does not run as root. */
const asUser = (command: readonly string[]): readonly [string, readonly string[]] => {
  const all = userInfo().uid === 0 ? ["runuser", "-u", "postgres", "--", ...command] : command;
  return [all[0] as string, all.slice(1)];
};

/** Whether the database answers before its process has ended. */
async function answers(url: string, child: ChildProcess): Promise<boolean> {
  while (child.exitCode === null && child.signalCode === null) {
    try {
      const database = await openPostgres(url);
      await database[Symbol.asyncDispose]();
      return true;
    } catch (error) {
      if (!(error instanceof MosError) || error.code !== "network") throw error;
      await sleep(200);
    }
  }
  return false;
}

/** Makes a cluster in a temporary folder and starts it. */
export async function startCluster(programs: string): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), "mos-postgres-"));
  if (userInfo().uid === 0) {
    const { stdout } = await run("id", ["-u", "postgres"]);
    await chown(folder, Number(stdout), Number(stdout));
  }
  const data = join(folder, "data");
  const [init, initArgs] = asUser([join(programs, "initdb"), "-D", data, "-U", "mos", "--auth=trust"]);
  await run(init, [...initArgs], { cwd: folder });
  const port = await freePort();
  const url = `postgres://mos@127.0.0.1:${port}/postgres`;
  let child: ChildProcess;
  const start = async (): Promise<void> => {
    const [command, args] = asUser([
      ...[join(programs, "postgres"), "-D", data, "-p", String(port)],
      ...["-k", folder, "-c", "max_connections=200", "-c", "listen_addresses=127.0.0.1"],
    ]);
    // it refuses to start while processes of the one before are still there
    for (let attempt = 0; attempt < 50; attempt++) {
      child = spawn(command, [...args], { cwd: folder, stdio: "ignore", detached: true });
      if (await answers(url, child)) return;
      await sleep(200);
    }
    throw new Error(`PostgreSQL does not start in ${folder}`);
  };
  const end = async (): Promise<void> => {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, "exit") : undefined;
    await run("pkill", ["-9", "-f", `postgres -D ${data}`]).catch(() => undefined);
    await ended;
  };
  await start();
  return {
    url,
    kill: async (seconds = 0.5) => {
      await end();
      await sleep(1000 * seconds);
      await start();
    },
    [Symbol.asyncDispose]: async () => {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
