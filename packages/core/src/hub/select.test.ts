import { expect, test } from "vitest";
import { selectFiles } from "./select.ts";

const list = (...paths: string[]) => paths.map((path) => ({ path, size: 1_500_000_000 }));
const names = (paths: string[], file?: string, include: string[] = []) => {
  const { kind, files } = selectFiles(
    list(...paths),
    file === undefined ? { name: "o/n" } : { name: "o/n", file },
    include,
  );
  return { kind, files: files.map(({ path }) => path).sort() };
};
const error = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });
const base = ["config.json", "tokenizer.json"];

test("takes settings and weights, never pickles, code or duplicates", () => {
  const paths = [
    ...base,
    "model.safetensors",
    "consolidated.safetensors",
    "pytorch_model.bin",
    "modeling.py",
    "README.md",
    "onnx/model.safetensors",
    "chat_template.jinja",
  ];
  expect(names(paths)).toEqual({
    kind: "folder",
    files: ["chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json"],
  });
});

test("takes all shards with their index", () => {
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const index = "model.safetensors.index.json";
  expect(names([...base, index, ...shards, "consolidated.safetensors"]).files).toEqual(
    [...base, index, ...shards].sort(),
  );
  expect(() => names([...base, index, shards[0]!])).toThrowError(error("unsupported", /1 of 2 shards/));
  expect(() => names([...base, index, "x.safetensors"])).toThrowError(
    error("unsupported", /0 of its shards/),
  );
});

test("takes an adapter, unless it lies beside a model", () => {
  const adapter = ["adapter_config.json", "adapter_model.safetensors"];
  const model = ["config.json", "model.safetensors", "tokenizer.json"];
  expect(names([...adapter, "README.md", "tokenizer.json"])).toEqual({ kind: "adapter", files: adapter });
  expect(names([...adapter, ...model])).toEqual({ kind: "folder", files: model });
  expect(() => names(["adapter_config.json", "adapter_model.bin"])).toThrowError(
    error("unsupported", /pickles \(adapter_model\.bin\)/),
  );
});

test("takes the only GGUF, or asks for one", () => {
  expect(names(["README.md", "a.gguf"])).toEqual({ kind: "gguf", files: ["a.gguf"] });
  expect(() => names(["a.Q4_1.gguf", "b/a.Q8_0.gguf"])).toThrowError(
    error("bad_option", /2 GGUF files.*\n {2}o\/n:a\.Q4_1\.gguf {2}\(1\.50 GB\)\n {2}o\/n:b\/a\.Q8_0\.gguf/),
  );
  expect(names(["a.gguf", "b/c.gguf"], "b/c.gguf")).toEqual({ kind: "gguf", files: ["b/c.gguf"] });
  expect(names(["a.Q4.gguf", "a.Q8.gguf", "config.json"], undefined, ["*Q8*", "config.json"])).toEqual({
    kind: "gguf",
    files: ["a.Q8.gguf", "config.json"],
  });
  expect(() => names(["a.gguf", "b/a.gguf"], undefined, ["*.gguf", "b/*"])).toThrowError(/2 GGUF files/);
  expect(() => names(["m-00001-of-00002.gguf"])).toThrowError(error("unsupported", /split GGUF/));
});

test.each([
  {
    paths: ["config.json", "pytorch_model.bin"],
    code: "unsupported",
    message: /pickles \(pytorch_model\.bin\)/,
  },
  { paths: ["README.md"], code: "unsupported", message: /no safetensors and no GGUF/ },
  { paths: ["model.safetensors", "tokenizer.json"], code: "unsupported", message: /no config\.json/ },
  { paths: ["model.safetensors", "config.json"], code: "unsupported", message: /no tokenizer\.json/ },
  { paths: ["a.gguf"], file: "b.gguf", code: "not_found", message: /no file b\.gguf; it has a\.gguf/ },
  { paths: ["x.bin", "a.gguf"], file: "x.bin", code: "unsupported", message: /never pickles/ },
])("refuses $paths", ({ paths, file, code, message }) => {
  expect(() => names(paths, file)).toThrowError(error(code, message));
});
