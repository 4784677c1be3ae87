// A hub on this machine with one repository, org/name, which can be written and read.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
const gitSha1 = (bytes: Buffer) =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

interface Seen {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
}

/** Tokens: "hf_write" may write. */
export class WritableHub {
  readonly requests: Seen[] = [];
  endpoint = "";
  /** Where it says that large files are stored; its own host by default. */
  storage: string | undefined;
  isPrivate: boolean | undefined;
  partBytes: number | undefined;
  refuse: { readonly on: string; readonly status: number; count: number } | undefined;
  readonly #branches = new Map<string, Record<string, Buffer>>();
  readonly #commits = new Map<string, string>();
  readonly #objects = new Map<string, Buffer>();
  readonly #parts = new Map<string, Buffer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      this.#answer(request, response, Buffer.concat(chunks));
    });
  }

  static async start(): Promise<WritableHub> {
    const hub = new WritableHub();
    await new Promise<void>((done) => hub.#server.listen(0, "127.0.0.1", done));
    hub.endpoint = `http://127.0.0.1:${(hub.#server.address() as AddressInfo).port}`;
    return hub;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }

  branch(name: string): Record<string, Buffer> {
    const found = this.#branches.get(name);
    if (found === undefined) throw new Error(`there is no branch ${name}`);
    return found;
  }

  commitOf(branch: string): string | undefined {
    return this.#commits.get(branch);
  }

  #make(branch: string, content: Record<string, Buffer>): void {
    this.#branches.set(branch, content);
    this.#commits.set(branch, sha256(Buffer.from(`${branch} ${this.requests.length}`)).slice(0, 40));
  }

  #answer(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
    const { method = "" } = request;
    const path = decodeURIComponent(request.url?.split("?")[0] ?? "");
    const token = request.headers.authorization?.slice("Bearer ".length);
    this.requests.push({ method, path, token });
    const answer = (status: number, value: unknown = {}) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
    if (this.refuse !== undefined && path.startsWith(this.refuse.on) && this.refuse.count-- > 0)
      answer(this.refuse.status);
    else if (path.startsWith("/lfs/")) this.#store(path, body, response);
    else if (path.startsWith("/org/name/resolve/")) this.#download(path, response);
    else if (method === "GET") this.#read(path, answer);
    else if (token !== "hf_write") answer(403, { error: "no write access" });
    else this.#write(path, body, answer);
  }

  #read(path: string, answer: (status: number, value?: unknown) => void): void {
    const [, revision] = /^\/api\/models\/org\/name\/revision\/(.+)$/.exec(path) ?? [];
    const [, commit] = /^\/api\/models\/org\/name\/tree\/(.+)$/.exec(path) ?? [];
    const name = revision === "HEAD" ? "main" : (revision ?? this.#branchAt(commit));
    const content = this.#branches.get(name ?? "");
    if (content === undefined) answer(404);
    else if (revision !== undefined)
      answer(200, { id: "org/name", private: this.isPrivate, sha: this.#commits.get(name ?? "") });
    else
      answer(
        200,
        Object.entries(content).map(([file, bytes]) => ({
          type: "file",
          path: file,
          size: bytes.length,
          oid: gitSha1(bytes),
          ...(file.endsWith(".safetensors")
            ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } }
            : {}),
        })),
      );
  }

  #download(path: string, response: ServerResponse): void {
    const [commit, file = ""] = path.split("/").slice(4);
    const bytes = this.#branches.get(this.#branchAt(commit) ?? "")?.[file];
    if (bytes === undefined) response.writeHead(404).end();
    else response.setHeader("etag", `"${file}"`).end(bytes);
  }

  #branchAt(commit: string | undefined): string | undefined {
    return [...this.#commits].find(([, id]) => id === commit)?.[0];
  }

  #write(path: string, body: Buffer, answer: (status: number, value?: unknown) => void): void {
    const [, action = path, branch = ""] = /^\/api\/models\/org\/name\/(\w+)\/(.+)$/.exec(path) ?? [];
    if (action === "/api/repos/create") {
      const { name, organization, visibility } = JSON.parse(body.toString());
      assert.deepEqual([organization, name], ["org", "name"]);
      this.isPrivate = visibility === "private";
      this.#make("main", {});
      answer(200, { url: `${this.endpoint}/org/name`, id: "1" });
    } else if (action === "branch") {
      this.#make(branch, { ...this.branch("main") });
      answer(200);
    } else if (action === "preupload") {
      const { files: asked } = JSON.parse(body.toString()) as { files: { path: string }[] };
      const mode = (file: string) => (file.endsWith(".safetensors") ? "lfs" : "regular");
      answer(200, { files: asked.map((file) => ({ path: file.path, uploadMode: mode(file.path) })) });
    } else if (action === "/org/name.git/info/lfs/objects/batch") this.#batch(body, answer);
    else if (action === "commit") this.#commit(branch, body, answer);
    else answer(404);
  }

  #batch(body: Buffer, answer: (status: number, value?: unknown) => void): void {
    const { objects } = JSON.parse(body.toString()) as { objects: { oid: string; size: number }[] };
    const action = (oid: string, size: number) => {
      const href = `${this.storage ?? this.endpoint}/lfs/${oid}`;
      if (this.partBytes === undefined) return { href };
      const parts = Array.from({ length: Math.ceil(size / this.partBytes) }, (_, i) => i + 1);
      const header = Object.fromEntries(
        parts.map((part) => [String(part).padStart(5, "0"), `${href}/${part}`]),
      );
      return { href, header: { ...header, chunk_size: String(this.partBytes) } };
    };
    answer(200, {
      transfer: this.partBytes === undefined ? "basic" : "multipart",
      objects: objects.map(({ oid, size }) => ({
        ...{ oid, size },
        ...(this.#objects.has(oid) ? {} : { actions: { upload: action(oid, size) } }),
      })),
    });
  }

  /** The storage of large files: whole ones, parts, and the request that joins them. */
  #store(path: string, body: Buffer, response: ServerResponse): void {
    const [, oid = "", part] = /^\/lfs\/(\w+)(?:\/(\d+))?$/.exec(path) ?? [];
    if (part !== undefined) this.#parts.set(part, body);
    else {
      const parts = [...this.#parts].sort(([a], [b]) => Number(a) - Number(b)).map(([, bytes]) => bytes);
      const bytes = this.partBytes === undefined ? body : Buffer.concat(parts);
      assert.equal(sha256(bytes), oid);
      this.#objects.set(oid, bytes);
    }
    response.writeHead(200, { etag: '"part"' }).end("{}");
  }

  #commit(branch: string, body: Buffer, answer: (status: number, value?: unknown) => void): void {
    const content = { ...this.branch(branch) };
    for (const line of body.toString().split("\n")) {
      const { key, value } = JSON.parse(line);
      if (key === "file") content[value.path] = Buffer.from(value.content, value.encoding);
      if (key === "lfsFile") content[value.path] = this.#objects.get(value.oid) ?? Buffer.alloc(0);
    }
    this.#make(branch, content);
    answer(200, { commitOid: this.#commits.get(branch), commitUrl: "", hookOutput: "" });
  }
}
