// What a client may write: texts that are none, fields that come twice, numbers in other forms. All of it is 400.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openObjects } from "#objects";
import { openStores } from "#store";
import { createFileChecker } from "#worker";
import { createExtension, openExpired } from "../src/extension.ts";
import { databases, openTables, type TestTables } from "./databases.ts";
import { type Answer, collectAnswer, makeServer, type TestServer } from "./server.ts";

const LINE = '{"prompt":"a","completion":" b"}\n';
const MODEL = "ft:base:acme::1";

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  let folder: string;
  let server: TestServer;
  let fileId: string;

  const unused = (): never => {
    throw new Error("not used here");
  };
  beforeAll(async () => {
    opened = await openTables(open);
    folder = await mkdtemp(join(tmpdir(), "mos-input-"));
    const stores = openStores(opened.database);
    const objects = await openObjects(join(folder, "objects"));
    const model = { name: "base", shapes: { layers: 1, widths: {} }, hiddenSize: 64, path: "" };
    server = await makeServer({
      extension: createExtension({
        model,
        checkRun: () => undefined,
        publisher: { use: () => undefined, fetch: unused },
        unpublish: unused,
        expired: openExpired(stores.models),
        service: {
          ...stores,
          objects,
          preview: unused,
          checkFile: createFileChecker(),
          grading: { grade: unused },
          webhookPorts: [443],
          trackers: ["wandb"],
        },
      }),
      keys: { find: async (name) => ({ name, isAdmin: false, mayUse: () => true }) },
    });
    await opened.database.query("insert into models (name, tenant, files) values ($1, 'acme', '{}')", [
      MODEL,
    ]);
    fileId = (await upload([["purpose", "fine-tune"]])).json.id;
  });
  afterAll(async () => {
    await opened[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  const headers = { authorization: "Bearer acme" };
  const send = (path: string, body?: object): Promise<Answer> => server.send(`/v1${path}`, body, headers);

  /** Fields in their order, as often as they are given, before the file. */
  async function upload(fields: readonly (readonly [string, string])[], content = LINE): Promise<Answer> {
    const form = new FormData();
    for (const [name, value] of fields) form.append(name, value);
    form.append("file", new Blob([content]), "a.jsonl");
    return collectAnswer(await server.fetch("/v1/files", { method: "POST", headers, body: form }));
  }

  test("a file that cannot be used has its wrong lines in a list", async () => {
    const purpose = [["purpose", "fine-tune"]] as const;
    const lines = [LINE, "{", LINE.trim(), '{"text":"<script>"}', ...Array(60).fill("[]")];
    const { json: file } = await upload(purpose, lines.join("\n").replaceAll("\n\n", "\n"));
    expect(file).toMatchObject({ status: "error", status_details: expect.stringMatching(/^line 2:2: /) });
    const { json: list } = await send(`/files/${file.id}/problems`);
    expect(list).toMatchObject({ object: "list", has_more: true });
    expect(list.data).toHaveLength(50);
    expect(list.data.slice(0, 3)).toEqual([
      { object: "file.problem", line: 2, message: expect.stringMatching(/^not valid JSON near \{$/) },
      { object: "file.problem", line: 4, message: expect.stringMatching(/^there is no field /) },
      { object: "file.problem", line: 5, message: expect.stringMatching(/^this line is a list/) },
    ]);
    const good = await send(`/files/${fileId}/problems`);
    expect(good.json).toEqual({ object: "list", data: [], has_more: false });
    const { json: packed } = await upload(purpose, "PK\x03\x04");
    expect((await send(`/files/${packed.id}/problems`)).json.data).toMatchObject([{ line: null }]);
    expect((await send("/files/file-none/problems")).status).toBe(404);
  });

  test.each([
    ["a zero byte", "a\0b"],
    ["half of a pair", "a\ud800b"],
    ["the other half", "\udc00"],
  ])("%s is 400 at any depth, as a value and as a name", async (_, text) => {
    const job = (more: object) => ({ model: "base", training_file: fileId, ...more });
    const kwargs = (value: unknown) => job({ mos: { chat_template_kwargs: value } });
    const preview = (more: object) => send("/fine_tuning/preview", job(more));
    const cases: readonly (readonly [string, () => Promise<Answer>])[] = [
      ["mos.chat_template_kwargs.a", () => send("/fine_tuning/jobs", kwargs({ a: text }))],
      ["mos.chat_template_kwargs.a.0.b", () => send("/fine_tuning/jobs", kwargs({ a: [{ b: text }] }))],
      ["mos.chat_template_kwargs.a", () => send("/fine_tuning/jobs", kwargs({ a: { [text]: 1 } }))],
      ["mos.chat_template_kwargs.a", () => preview({ mos: { chat_template_kwargs: { a: text } } })],
      ["mos.system", () => send("/fine_tuning/jobs", job({ mos: { system: text } }))],
      ["metadata.a", () => send("/fine_tuning/jobs", job({ metadata: { a: text } }))],
      ["metadata", () => send("/fine_tuning/jobs", job({ metadata: { [text]: "a" } }))],
      ["suffix", () => send("/fine_tuning/jobs", job({ suffix: text }))],
      ["training_file", () => send("/fine_tuning/jobs", job({ training_file: text }))],
      ["description", () => send("/webhooks", { url: "https://example.com/", description: text })],
      ["metadata.a", () => send(`/models/${MODEL}`, { metadata: { a: text } })],
    ];
    for (const [param, ask] of cases) {
      const { status, json } = await ask();
      expect([param, status, json.error.param, json.error.message]).toEqual([
        ...[param, 400, param, expect.stringMatching(/null character or an unpaired surrogate/)],
      ]);
    }
    // whole pairs are texts like any other
    const kept = await send("/fine_tuning/jobs", kwargs({ a: ["😀"] }));
    expect([kept.status, kept.json.mos?.chat_template_kwargs]).toEqual([200, { a: ["😀"] }]);
  });

  test("integrations are those that the server allows", async () => {
    const job = { model: "base", training_file: fileId };
    const refused = [
      [
        [{ type: "mlflow", mlflow: { project: "x" } }],
        /^integrations of type mlflow is not supported .* wandb$/,
      ],
      [[{ type: "wandb", wandb: {} }], /integrations/],
      [[{ type: "wandb", mlflow: { project: "x" } }], /integrations/],
      [Array(2).fill({ type: "wandb", wandb: { project: "x" } }), /integrations/],
      ["wandb", /integrations/],
      [{ type: "wandb" }, /integrations/],
    ] as const;
    for (const [integrations, message] of refused) {
      const { status, json } = await send("/fine_tuning/jobs", { ...job, integrations });
      expect([status, json.error]).toEqual([
        400,
        expect.objectContaining({
          param: expect.stringMatching(/^integrations/),
          message: expect.stringMatching(message),
        }),
      ]);
    }
    const integrations = [{ type: "wandb", wandb: { project: "x", tags: ["a"] } }];
    const { json } = await send("/fine_tuning/jobs", { ...job, integrations });
    expect((await send(`/fine_tuning/jobs/${json.id}`)).json.integrations).toEqual(integrations);
    for (const integrations of [[], null])
      expect((await send("/fine_tuning/jobs", { ...job, integrations })).status).toBe(200);
  });

  test.each(["0x10", "1e1", " 5", "+5", "5.0", "0b1", "٥", "", "5&limit=6"])(
    "%j is no number of a query",
    async (text) => {
      for (const path of ["files", "fine_tuning/jobs", "webhooks", "aliases", "usage"]) {
        const { status, json } = await send(`/${path}?limit=${text}`);
        expect([path, status, json.error?.param]).toEqual([path, 400, "limit"]);
      }
      const { status, json } = await send(`/usage?start_time=${text.replace("limit", "start_time")}`);
      expect([status, json.error?.param]).toEqual([400, "start_time"]);
    },
  );

  test("decimal digits are, within what may be asked for", async () => {
    expect((await send("/files?limit=1")).json.data).toHaveLength(1);
    expect((await send("/files?limit=10000")).status).toBe(200);
    expect((await send("/files?limit=10001")).status).toBe(400);
    expect((await send("/usage?start_time=1700000000&limit=007")).status).toBe(200);
  });

  test("a form's numbers are decimal digits, and each of its fields comes once", async () => {
    const purpose = ["purpose", "fine-tune"] as const;
    const seconds = (text: string) => ["expires_after[seconds]", text] as const;
    for (const text of ["0x1000", "4e3", " 4000 ", "4000.0", "+4000", ""]) {
      const { status, json } = await upload([purpose, seconds(text)]);
      expect([text, status, json.error?.param]).toEqual([text, 400, "expires_after"]);
    }
    for (const twice of [
      [purpose, purpose],
      [purpose, ["purpose", "other"] as const],
      [purpose, seconds("4000"), seconds("5000")],
    ]) {
      const { status, json } = await upload(twice);
      expect([status, json.error?.code, json.error?.message]).toEqual([
        ...[400, "invalid_multipart", expect.stringMatching(/occurs twice/)],
      ]);
    }
    const { status, json } = await upload([purpose, seconds("4000")]);
    expect([status, json.expires_at - json.created_at]).toEqual([200, 4000]);
  });
});
