import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBase64 } from "./base64.ts";
import { liftLongPart } from "./long-part.ts";
import { liftLongText } from "./long-text.ts";
import { readUpload } from "./read-upload.ts";

const limits = { uploadBytes: 100_000_000, bodyBytes: 1_000_000 };
const requestOf = (body: string): Request =>
  new Request("http://localhost/v1/adapters", {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });
const upload = (fields: object) => readUpload(requestOf(JSON.stringify({ name: "x", ...fields })), limits);

test("base64 of any bytes is decoded, and what is none is not", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array(), async (bytes) => {
      const letters = Buffer.from(Buffer.from(bytes).toString("base64"));
      expect(Buffer.from((await decodeBase64(letters))!)).toEqual(Buffer.from(bytes));
    }),
  );
  for (const wrong of ["A", "AAA", "AA=A", "A===", "====", "AAAA=", "AA-_", "AA\n=", "AAAÄ"])
    expect(await decodeBase64(Buffer.from(wrong))).toBeUndefined();
  const padded = `${"A".repeat((1 << 20) - 2)}==AAAA`;
  expect(await decodeBase64(Buffer.from(padded))).toBeUndefined();
});

test("a document without its long text, and the text, are the document", () => {
  const short = fc.constantFrom(
    "",
    "x",
    'a"b',
    "\\",
    "z".repeat(60_000),
    " ".repeat(70_000),
    ":,}".repeat(30_000),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.string({ maxLength: 3 }), short), fc.boolean(), (fields, isLong) => {
      const long = isLong ? { tensors: "A".repeat(70_000) } : {};
      for (const document of [
        JSON.stringify({ ...fields, ...long }),
        JSON.stringify({ ...long, ...fields }, null, 2),
      ]) {
        const { rest, text } = liftLongText(Buffer.from(document), "@");
        expect(text?.toString()).toBe(isLong ? long.tensors : undefined);
        expect(JSON.parse(rest.toString())).toEqual(JSON.parse(document.replace(/A{70000}/, "@")));
      }
    }),
    { numRuns: 30 },
  );
});

test("many megabytes of tensors leave others their turns, wherever they stand in the body", async () => {
  const tensors = Buffer.from(Array.from({ length: 21_000_000 }, (_, i) => (i * 7919) >> 8));
  const fields = { adapter_config: { a: null, b: [1] } };
  for (const body of [
    { ...fields, adapter_model: tensors.toString("base64") },
    { adapter_model: tensors.toString("base64"), ...fields },
  ]) {
    let isDone = false;
    const reading = upload(body).finally(() => {
      isDone = true;
    });
    let turns = 0;
    for (; !isDone; turns++) await nextTurn();
    const { name, files } = await reading;
    expect(tensors.equals(files.tensors)).toBe(true);
    expect([name, JSON.parse(new TextDecoder().decode(files.config))]).toEqual(["x", fields.adapter_config]);
    expect(turns).toBeGreaterThan(25);
  }
});

const formOf = (parts: Readonly<Record<string, string | Buffer>>): Request => {
  const form = new FormData();
  for (const [name, value] of Object.entries(parts))
    form.append(name, typeof value === "string" ? value : new Blob([Uint8Array.from(value)]));
  return new Request("http://localhost/v1/adapters", { method: "POST", body: form });
};

test("a form's tensors come out as they went in, and no parser reads them", async () => {
  const tensors = Buffer.from(Array.from({ length: 9_000_000 }, (_, i) => (i * 7919) >> 8));
  tensors.write("\r\n\r\n--x\r\n", 1000);
  for (const parts of [
    { name: "x", adapter_config: "{}", adapter_model: tensors },
    { adapter_model: tensors, adapter_config: Buffer.from("{}"), name: "x" },
  ]) {
    const request = formOf(parts);
    const body = Buffer.from(await request.clone().arrayBuffer());
    const { rest, content } = await liftLongPart(body, request.headers.get("content-type")!, "@");
    expect([rest.length < 1000, content?.equals(tensors)]).toEqual([true, true]);
    const { name, files } = await readUpload(request, limits);
    expect(tensors.equals(files.tensors)).toBe(true);
    expect([name, new TextDecoder().decode(files.config)]).toEqual(["x", "{}"]);
  }
  const small = await readUpload(formOf({ name: "x", adapter_config: "{}", adapter_model: "few" }), limits);
  expect(Buffer.from(small.files.tensors).toString()).toBe("few");
  const long = Buffer.alloc(100_000);
  for (const parts of [
    { name: "x", adapter_config: long, adapter_model: "few" },
    { name: "x", adapter_config: "{}", adapter_model: "few", more: long },
  ])
    await expect(readUpload(formOf(parts), limits)).rejects.toMatchObject({ details: { status: 400 } });
});

test("other long texts are refused, as are tensors that are no base64", async () => {
  const long = "A".repeat(100_000);
  const refusal = (fields: object) =>
    upload(fields).then(
      () => undefined,
      ({ message, details }) => [details.status, details.field, message],
    );
  const config = { adapter_config: {} };
  expect(await refusal({ adapter_config: { long }, adapter_model: "AAAA" })).toEqual([
    400,
    undefined,
    expect.any(String),
  ]);
  expect(await refusal({ ...config, adapter_model: `${long}-` })).toEqual([
    400,
    "adapter_model",
    expect.any(String),
  ]);
  expect(await refusal({ ...config, adapter_model: `${long}\n` })).toEqual([
    400,
    "adapter_model",
    expect.any(String),
  ]);
  expect(await refusal({ ...config, adapter_model: "no" })).toEqual([
    400,
    "adapter_model",
    expect.any(String),
  ]);
  const blanks = [413, undefined, expect.stringContaining("1000000 bytes")];
  expect(await refusal({ ...config, adapter_model: " ".repeat(2_000_000) })).toEqual(blanks);
});
