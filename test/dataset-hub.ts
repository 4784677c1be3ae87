// A hub on this machine with data sets, as far as downloads need it.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** A hub that runs. */
export interface DatasetHub extends AsyncDisposable {
  readonly endpoint: string;
  /** Paths that were asked for. */
  readonly requests: string[];
  /** Puts files into a revision of a repository, which replaces what it held. */
  publish(name: string, files: Readonly<Record<string, Buffer>>, revision?: string): void;
}

type Answer = readonly [status: number, body: string | Buffer];

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** Starts a hub; `other` answers what is not about data sets. */
export async function startDatasetHub(other?: (path: string) => Answer | undefined): Promise<DatasetHub> {
  /** By name: revision, and files by path. */
  const repositories = new Map<string, Map<string, ReadonlyMap<string, Buffer>>>();
  const requests: string[] = [];
  /** Commits are of the revisions' order: the first ends in 0, the second in 1. */
  const answer = (path: string): Answer => {
    const [, name = "", kind, rest = ""] =
      /^\/(?:api\/)?datasets\/([^/]+\/[^/]+)\/(revision|tree|resolve)\/(.*)$/.exec(path) ?? [];
    const revisions = [...(repositories.get(name) ?? [])];
    if (kind === "revision") {
      const makeCommit = (index: number): string => COMMIT.slice(0, -1) + index;
      const index = revisions.findIndex(([revision], i) => revision === rest || makeCommit(i) === rest);
      return index < 0 ? [404, "{}"] : [200, JSON.stringify({ id: name, sha: makeCommit(index) })];
    }
    const files = revisions[Number(rest[39])]?.[1] ?? new Map<string, Buffer>();
    if (kind === "tree") return [200, JSON.stringify([...files].map(makeEntry))];
    const bytes = files.get(rest.slice(41));
    return bytes === undefined ? [404, "{}"] : [200, bytes];
  };
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url?.split("?")[0] ?? "");
    requests.push(path);
    const [status, body] = other?.(path) ?? answer(path);
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    publish(name, files, revision = "main") {
      const revisions = repositories.get(name) ?? new Map<string, ReadonlyMap<string, Buffer>>();
      repositories.set(name, revisions.set(revision, new Map(Object.entries(files))));
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

const makeEntry = ([path, bytes]: readonly [string, Buffer]): object => ({
  type: "file",
  path,
  size: bytes.length,
  oid: "f".repeat(40),
  lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 },
});
