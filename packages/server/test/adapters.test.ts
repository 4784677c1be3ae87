// Uploads of adapters: adding, replacing and removing, and the state after a failed change.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "mixture-of-shards-core/common";
import { storageError, writeSafetensors } from "mixture-of-shards-core/files";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type ApiKey, hashKey, type KeyRing } from "../src/index.ts";
import { type Harness, makeServer } from "./harness.ts";

/** A system call's error, whose code is written in a config. */
const failedWith = (config: string): Error =>
  Object.assign(new Error("write failed"), { code: JSON.parse(config).full });

describe("adapters", () => {
  const key = (name: string, isAdmin: boolean): ApiKey => ({ name, isAdmin, mayUse: () => true });
  const keys: KeyRing = {
    find: async (token) =>
      hashKey(token) === hashKey("admin")
        ? key("admin", true)
        : token === "user"
          ? key("user", false)
          : undefined,
  };
  const admin = { authorization: "Bearer admin" };
  let folder: string;
  let server: Harness;
  let tensors: Buffer;
  let isBlind = false;

  const namesIn = async (path: string) => (await readdir(path)).sort();
  /** The fake engine looks only at the config to decide what is an adapter. */
  const look = async () => {
    if (isBlind) throw new MosError("storage", "the disk is away");
    const names = (await readdir(folder)).filter((name) => !name.startsWith("."));
    const configs = await Promise.all(
      names.map(
        async (name) => [name, await readFile(join(folder, name, "adapter_config.json"), "utf8")] as const,
      ),
    );
    return configs.filter(([, config]) => !config.includes("foreign")).map(([name]) => name);
  };

  beforeAll(async () => {
    const base = await mkdtemp(join(tmpdir(), "mos-adapters-"));
    folder = join(base, "adapters");
    await mkdir(folder);
    await writeSafetensors(join(base, "t.safetensors"), {
      a: { dtype: "F32", shape: [1], data: Float32Array.of(1) },
    });
    tensors = await readFile(join(base, "t.safetensors"));
    server = await makeServer({
      engine: { look },
      server: {
        keys,
        adapterFolder: folder,
        limits: { uploadBytes: 100_000, bodyBytes: 50_000 },
        checkAdapter: async (path) => {
          const config = await readFile(join(path, "adapter_config.json"), "utf8");
          if (config.includes("full")) throw storageError(failedWith(config), path);
          if (config.includes("wrong"))
            throw new MosError("bad_adapter", `${path}/adapter_config.json: this is wrong`);
        },
      },
    });
  });
  afterEach(async () => {
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
    await server.engine.refreshAdapters();
  });
  afterAll(() => rm(join(folder, ".."), { recursive: true }));

  const makeForm = (parts: Readonly<Record<string, string | Buffer>>): FormData => {
    const form = new FormData();
    for (const [name, value] of Object.entries(parts))
      form.append(name, typeof value === "string" ? value : new Blob([Uint8Array.from(value)]));
    return form;
  };
  /** Encodes the form first: in Node 24, a refused FormData causes an unhandled rejection (nodejs/undici#5835). */
  const sendForm = async (form: FormData) => {
    const encoded = new Response(form);
    const headers = { ...admin, "content-type": encoded.headers.get("content-type") ?? "" };
    const init = { method: "POST", body: await encoded.blob(), headers };
    const response = await server.fetch("/v1/adapters", init);
    const { error } = (await response.json()) as { readonly error: object };
    return [response.status, error] as const;
  };
  const whole = { name: "x", adapter_config: "{}", adapter_model: "x" };

  const upload = (name: string, config: object, headers: Record<string, string> = admin) =>
    server.send(
      "/v1/adapters",
      { name, adapter_config: config, adapter_model: tensors.toString("base64") },
      headers,
    );

  test("are added, used, replaced and removed", async () => {
    const added = await upload("acme", { version: 1 });
    expect([added.status, added.json]).toEqual([201, expect.objectContaining({ id: "acme", rank: 8 })]);
    expect(await namesIn(folder)).toEqual(["acme"]);
    expect(await namesIn(join(folder, "acme"))).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const call = { model: "acme", prompt: "x" };
    expect((await server.send("/v1/completions", call, admin)).status).toBe(200);
    const form = new FormData();
    form.set("name", "acme");
    form.set("adapter_config", new Blob(['{"version": 2}']), "../../etc/passwd");
    form.set("adapter_model", new Blob([new Uint8Array(tensors)]), "x.bin");
    const replaced = await server.fetch("/v1/adapters", { method: "POST", body: form, headers: admin });
    expect(replaced.status).toBe(201);
    expect(await readFile(join(folder, "acme/adapter_config.json"), "utf8")).toBe('{"version": 2}');
    expect(await namesIn(folder)).toEqual(["acme"]);
    const removed = await server.fetch("/v1/adapters/acme", { method: "DELETE", headers: admin });
    expect(await removed.json()).toEqual({ id: "acme", object: "adapter", deleted: true });
    expect(await namesIn(folder)).toEqual([]);
    expect((await server.send("/v1/completions", call, admin)).status).toBe(404);
    const again = await server.fetch("/v1/adapters/acme", { method: "DELETE", headers: admin });
    expect(again.status).toBe(404);
  });

  test("are listed with their ranks, memory and last use", async () => {
    const { json } = await upload("acme", { version: 1 });
    const before = Math.floor(Date.now() / 1000);
    await server.send("/v1/completions", { model: "acme", prompt: "x" }, admin);
    const answer = await server.send("/v1/adapters", undefined, admin);
    const { last_used_at: usedAt, ...listed } = answer.json.data[0];
    expect(usedAt).toBeGreaterThanOrEqual(before);
    expect(listed).toEqual({ ...json, last_used_at: undefined });
    expect(listed).toMatchObject({
      ...{ rank: 8, equivalent_rank: 2, private_rank: 1, targets: ["q_proj"], aliases: [] },
      // of the fake engine's statistics: loaded, and one running request in a slot of 250 bytes
      ...{ is_resident: true, resident_bytes: 1000, size_bytes: 1200, active_bytes: 250 },
    });
  });

  test("an upload that is not an adapter leaves the old one as it was", async () => {
    await upload("kept", { version: 1 });
    const before = await readFile(join(folder, "kept/adapter_config.json"), "utf8");
    const wrong = await upload("kept", { wrong: true });
    expect([wrong.status, wrong.json.error.code]).toEqual([400, "bad_adapter"]);
    expect(wrong.json.error.message).toBe("adapter_config.json: this is wrong");
    const foreign = await upload("kept", { foreign: true });
    expect([foreign.status, foreign.json.error.code]).toEqual([400, "bad_adapter"]);
    const broken = await server.send(
      "/v1/adapters",
      { name: "kept", adapter_config: {}, adapter_model: Buffer.from("nothing").toString("base64") },
      admin,
    );
    expect([broken.status, broken.json.error.code]).toEqual([400, "bad_adapter"]);
    expect(broken.text).not.toContain(folder);
    expect(await readFile(join(folder, "kept/adapter_config.json"), "utf8")).toBe(before);
    expect((await upload("new", { foreign: true })).status).toBe(400);
    expect(await namesIn(folder)).toEqual(["kept"]);
    expect((await server.send("/v1/completions", { model: "kept", prompt: "x" }, admin)).status).toBe(200);
  });

  test("a change after which the engine cannot rescan is undone: replacing, adding or removing", async () => {
    const stands = join(folder, "stands");
    await upload("stands", { version: 1 });
    await mkdir(join(stands, "more"));
    await writeFile(join(stands, "more/README.md"), "ours");
    const before = await readFile(join(stands, "adapter_config.json"), "utf8");
    isBlind = true;
    const refused = [
      await upload("stands", { version: 2 }),
      await upload("another", {}),
      await server.fetch("/v1/adapters/stands", { method: "DELETE", headers: admin }),
    ];
    isBlind = false;
    expect(refused.map(({ status }) => status)).toEqual([503, 503, 503]);
    expect(await readFile(join(stands, "adapter_config.json"), "utf8")).toBe(before);
    expect(await readFile(join(stands, "more/README.md"), "utf8")).toBe("ours");
    expect((await upload("stands", { foreign: true })).status).toBe(400);
    expect(await readFile(join(stands, "more/README.md"), "utf8")).toBe("ours");
    expect(await namesIn(folder)).toEqual(["stands"]);
    expect((await server.send("/v1/completions", { model: "stands", prompt: "x" }, admin)).status).toBe(200);
  });

  test("a replacement that cannot be used is undone, although its predecessor is still served from memory", async () => {
    await upload("stands", { version: 1 });
    server.engine.refuse([
      { name: "stands", reason: "no numbers; what it held before is served from memory" },
    ]);
    expect((await upload("stands", { version: 2 })).status).toBe(400);
    server.engine.refuse([]);
    const config = JSON.parse(await readFile(join(folder, "stands/adapter_config.json"), "utf8"));
    expect(config).toEqual({ version: 1 });
    await server.fetch("/v1/adapters/stands", { method: "DELETE", headers: admin });
  });

  test("a linked folder is restored as a link", async () => {
    const elsewhere = join(folder, "../elsewhere");
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, "adapter_config.json"), "{}");
    await symlink("../elsewhere", join(folder, "linked"));
    expect((await upload("linked", { foreign: true })).status).toBe(400);
    expect(await readlink(join(folder, "linked"))).toBe("../elsewhere");
    expect((await upload("linked", { version: 2 })).status).toBe(201);
    expect(await namesIn(elsewhere)).toEqual(["adapter_config.json"]);
    await rm(elsewhere, { recursive: true });
  });

  test.each([
    "../evil",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "a\0b",
    "/etc",
    "",
    "ä",
    "a".repeat(129),
    "base",
  ])("the name %j is not a name", async (name) => {
    const before = await namesIn(join(folder, ".."));
    const { status, json } = await upload(name, {});
    expect([status, json.error.param]).toEqual([400, "name"]);
    const path = `/v1/adapters/${encodeURIComponent(name)}`;
    const removed = await server.fetch(path, { method: "DELETE", headers: admin });
    expect(removed.status).toBeGreaterThanOrEqual(400);
    expect(await namesIn(join(folder, ".."))).toEqual(before);
  });

  test("only administrators change them, and up to a size limit", async () => {
    const refused = await upload("x", {}, { authorization: "Bearer user" });
    expect([refused.status, refused.json.error.code]).toEqual([403, "admin_key_required"]);
    const path = `/v1/adapters/kept`;
    const removal = await server.fetch(path, { method: "DELETE", headers: { authorization: "Bearer user" } });
    expect(removal.status).toBe(403);
    const large = await upload("x", { filler: "x".repeat(60_000) });
    expect([large.status, large.json.error.code]).toEqual([413, "request_too_large"]);
    expect(large.json.error.message).toContain("multipart/form-data");
    for (const form of [
      makeForm({ name: "x", adapter_config: "{}", adapter_model: Buffer.alloc(200_000) }),
      makeForm({ name: "x", adapter_config: `"${"x".repeat(60_000)}"`, adapter_model: tensors }),
    ])
      expect(await sendForm(form)).toMatchObject([413, { code: "request_too_large" }]);
    expect(existsSync(join(folder, "x"))).toBe(false);
  });

  test("a form of many parts is refused before it is parsed", async () => {
    const form = makeForm({ name: "x" });
    for (let i = 0; i < 8; i++) form.append("more", "");
    expect(await sendForm(form)).toMatchObject([400, { message: expect.stringContaining("8 parts") }]);
  });

  test.each([
    ["a missing part", { name: "x", adapter_config: "{}" }, "adapter_model"],
    ["an unknown part", { ...whole, more: "x" }, "more"],
    ["no name", { adapter_config: "{}", adapter_model: "x" }, "name"],
  ])("a form with %s is refused, and the part named", async (_, parts, param) => {
    expect(await sendForm(makeForm(parts))).toMatchObject([400, { param }]);
  });

  test("a form's parts may come in any order, and the tensors' bytes may look like a boundary", async () => {
    const data = Float32Array.from({ length: 20_000 }, (_, i) => i);
    const path = join(folder, "../large.safetensors");
    await writeSafetensors(path, { a: { dtype: "F32", shape: [data.length], data } });
    const large = await readFile(path);
    large.write("\r\n\r\n--x\r\n", 1000);
    for (const parts of [
      { name: "large", adapter_config: "{}", adapter_model: large },
      { adapter_model: large, adapter_config: Buffer.from("{}"), name: "large" },
    ]) {
      const init = { method: "POST", body: makeForm(parts), headers: admin };
      expect((await server.fetch("/v1/adapters", init)).status).toBe(201);
      const kept = await readFile(join(folder, "large", "adapter_model.safetensors"));
      expect(kept.equals(large)).toBe(true);
      await server.fetch("/v1/adapters/large", { method: "DELETE", headers: admin });
    }
    await rm(path);
  });

  test("a form with a part twice, a form that is cut off, and a body that is not a form are refused", async () => {
    const twice = makeForm(whole);
    twice.append("name", "y");
    expect(await sendForm(twice)).toMatchObject([400, { param: "name" }]);
    const send = async (body: string, type: string) => {
      const headers = { ...admin, "content-type": type };
      const response = await server.fetch("/v1/adapters", { method: "POST", body, headers });
      const { error } = (await response.json()) as { readonly error: { readonly code: string } };
      return [response.status, error.code];
    };
    const type = "multipart/form-data; boundary=b";
    const head = '--b\r\ncontent-disposition: form-data; name="adapter_model"; filename="x"\r\n\r\n';
    for (const body of ["", "nothing", head, `${head}abc`, `${head}abc\r\n--b`])
      expect(await send(body, type)).toEqual([400, "invalid_multipart"]);
    expect(await send("--b--", "multipart/form-data")).toEqual([400, "invalid_multipart"]);
    const bytes = makeForm({ ...whole, adapter_config: Buffer.from([0x7b, 0xff, 0x7d]) });
    expect(await sendForm(bytes)).toMatchObject([400, { message: expect.stringContaining("UTF-8") }]);
    expect(existsSync(join(folder, "x"))).toBe(false);
  });

  test.each([
    "A",
    "AAA",
    "AA=A",
    "A===",
    "====",
    "AAAA=",
    "AA-_",
    "AA\n=",
    "AAAÄ",
    "AAAA\n",
    " ".repeat(40_000),
  ])("%j is not base64", async (model) => {
    const body = { name: "x", adapter_config: {}, adapter_model: model };
    const { status, json } = await server.send("/v1/adapters", body, admin);
    expect([status, json.error.param]).toEqual([400, "adapter_model"]);
  });

  test.each([
    ["ENOSPC", 507, "insufficient_storage", /^the server's disk is full; nothing was changed\. /],
    ["EDQUOT", 507, "insufficient_storage", /^the server's disk quota is used up; nothing was changed\. /],
    ["EROFS", 503, "storage_unavailable", /^the server's storage is read-only; nothing was changed\. /],
    [
      "EACCES",
      503,
      "storage_unavailable",
      /^the server is not allowed to use its storage; nothing was changed\. /,
    ],
    ["EIO", 500, "internal_error", /log has the reason/],
  ])(
    "an upload that the disk refuses with %s is %i and changes nothing",
    async (code, status, name, message) => {
      await upload("stays", { version: 1 });
      const before = await namesIn(folder);
      for (const adapter of ["stays", "fresh"]) {
        const answer = await upload(adapter, { full: code });
        expect([answer.status, answer.json.error]).toEqual([
          status,
          { type: "server_error", param: null, code: name, message: expect.stringMatching(message) },
        ]);
        expect(answer.text).not.toContain(folder);
      }
      expect(await namesIn(folder)).toEqual(before);
      expect(JSON.parse(await readFile(join(folder, "stays/adapter_config.json"), "utf8"))).toEqual({
        version: 1,
      });
    },
  );

  test("concurrent uploads of one name leave one of them complete", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => upload("raced", { i })));
    expect(all.map(({ status }) => status)).toEqual(Array(8).fill(201));
    const { i } = JSON.parse(await readFile(join(folder, "raced/adapter_config.json"), "utf8"));
    expect(i).toBe(7);
    expect((await namesIn(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

test("folders that cannot be served are logged once, and shown to administrators with the reason", async () => {
  const mayUse = (name: string): boolean => name !== "other";
  const keys: KeyRing = { find: async (token) => ({ name: "x", isAdmin: token === "admin", mayUse }) };
  await using server = await makeServer({ engine: { adapters: ["acme"] }, server: { keys } });
  const stopped = { name: "stopped", reason: "its training has not finished, or was stopped" };
  const broken = { name: "broken", reason: "broken/adapter_config.json: this is not JSON" };
  server.engine.refuse([broken, stopped]);
  server.engine.refuse([broken, stopped, { name: "other", reason: "of another model" }]);
  server.engine.refuse([{ ...broken, reason: "broken: adapter_model.safetensors is missing" }]);
  const lines = server.log.filter(({ level }) => level === "warn").map(({ fields }) => fields);
  expect(lines.map(({ adapter }) => adapter)).toEqual(["broken", "stopped", "other", "broken"]);
  expect(lines[1]).toEqual({ adapter: "stopped", reason: stopped.reason });
  server.engine.refuse([stopped, { name: "other", reason: "of another model" }]);
  const list = async (token: string) =>
    (await server.send("/v1/adapters", undefined, { authorization: `Bearer ${token}` })).json;
  expect(await list("admin")).toMatchObject({ unavailable: [{ id: "stopped", reason: stopped.reason }] });
  expect(await list("user")).toEqual({ object: "list", data: [expect.objectContaining({ id: "acme" })] });
});
