import { bytes, distinct, flag, setting } from "mixture-of-shards-core/common";
import { expect, test } from "vitest";
import { z } from "zod";
import { notesOnEnvironment, readConfigValues, readEnvironment, variableName } from "./sources.ts";

const options = {
  port: setting(z.int().min(0).max(65_535), { default: 8080, help: "port" }),
  model: setting(z.string(), { required: true, help: "model" }),
  cacheMemory: setting(bytes(1), { help: "memory" }),
  baseDtype: setting(z.enum(["stored", "float32", "int4"]), {
    default: "stored",
    help: "dtype",
  }),
  keys: flag({ default: true, help: "let everyone in" }),
  publicMetrics: flag({ help: "metrics" }),
  cors: setting(distinct(z.string()).describe("a list of strings"), { help: "origins" }),
  parts: setting(
    z
      .array(z.enum(["a", "b"]))
      .min(1)
      .readonly(),
    { help: "parts" },
  ),
};

const plain = (values: ReadonlyMap<string, { readonly value: unknown }>): object =>
  Object.fromEntries([...values].map(([name, { value }]) => [name, value]));
const environment = (given: Readonly<Record<string, string>>): object =>
  plain(readEnvironment(options, given));
const config = (given: unknown, section = "serve"): object =>
  plain(
    readConfigValues(typeof given === "string" ? given : JSON.stringify(given), {
      where: "mos.config.json",
      section,
      options,
    }),
  );

test("a variable for every option, read as the option is", () => {
  expect(variableName("maxAdapterRank")).toBe("MOS_MAX_ADAPTER_RANK");
  const given = {
    MOS_PORT: "9_000",
    MOS_MODEL: " org/name\n",
    MOS_CACHE_MEMORY: "2GB",
    MOS_BASE_DTYPE: "int4",
    MOS_KEYS: "false",
    MOS_PUBLIC_METRICS: "1",
    MOS_CORS: "https://a, https://b",
    MOS_PARTS: "a,b",
    MOS_PYTHON: "python3",
  };
  expect(environment(given)).toEqual({
    port: 9000,
    model: "org/name",
    cacheMemory: 2e9,
    baseDtype: "int4",
    keys: false,
    publicMetrics: true,
    cors: ["https://a", "https://b"],
    parts: ["a", "b"],
  });
});

test("empty variables are as if not set, and so is what Kubernetes tells of a service that is called mos", () => {
  expect(environment({ MOS_PORT: "", MOS_MODEL: " \n", MOS_KEYS: "" })).toEqual({});
  expect(environment({ MOS_PORT: "tcp://10.0.0.1:80" })).toEqual({});
});

test("a variable that is nearly the name of one is noted", () => {
  const given = { MOS_PORTT: "1", MOS_CACHEMEMORY: "2GB", MOS_PORT: "1", MOS_PYTHON: "python3", PORT: "1" };
  expect(notesOnEnvironment(options, given)).toEqual([
    "MOS_PORTT: unknown variable; did you mean MOS_PORT?",
    "MOS_CACHEMEMORY: unknown variable; did you mean MOS_CACHE_MEMORY?",
  ]);
});

test.each([
  [{ MOS_PORT: "x" }, 'MOS_PORT: "x" is invalid; give a whole number from 0 to 65535'],
  [{ MOS_CACHE_MEMORY: "2 apples" }, /^MOS_CACHE_MEMORY: .* such as 500MB/],
  [{ MOS_BASE_DTYPE: "int3" }, /^MOS_BASE_DTYPE: "int3" is invalid; give one of stored, float32, int4/],
  [{ MOS_PUBLIC_METRICS: "maybe" }, 'MOS_PUBLIC_METRICS: "maybe" is invalid; give true or false'],
  [{ MOS_NO_KEYS: "1" }, "MOS_NO_KEYS: unknown variable; set MOS_KEYS=false"],
] as const)("a variable that cannot be used is named: %o", (given, message) => {
  expect(() => environment(given)).toThrowError(message);
});

test("a file has a section for each command, and JSON's own types", () => {
  const serve = {
    port: 0,
    model: "m",
    cacheMemory: "1.5GiB",
    keys: false,
    publicMetrics: true,
    cors: ["https://a"],
  };
  const given = { $schema: "./schema.json", serve, worker: { whatever: 1 } };
  expect(config(given)).toEqual({ ...serve, cacheMemory: 1.5 * 2 ** 30 });
  expect(config({ serve: { cacheMemory: 5 } })).toEqual({ cacheMemory: 5 });
  expect(config({})).toEqual({});
  expect(config({ worker: {} })).toEqual({});
});

test.each([
  ["{", /^mos\.config\.json: not valid JSON/],
  [[], "mos.config.json: [] is invalid; give an object"],
  [{ serve: 1 }, "mos.config.json: serve: 1 is invalid; give an object of its options"],
  [{ serv: {} }, "mos.config.json: unknown name serv; did you mean serve?"],
  [{ port: 1 }, 'mos.config.json: port belongs in "serve"'],
  [{ serve: { prot: 1 } }, "mos.config.json: serve: unknown name prot; did you mean port?"],
  [
    { serve: { "cache-memory": 1 } },
    "mos.config.json: serve: unknown name cache-memory; did you mean cacheMemory?",
  ],
  [{ serve: { colour: 1 } }, /unknown name colour; expected one of port, model, cacheMemory/],
  [{ serve: { __proto__x: 1 } }, /unknown name __proto__x/],
  [
    { serve: { port: "8080" } },
    'mos.config.json: serve.port: "8080" is invalid; give a whole number from 0 to 65535',
  ],
  [{ serve: { port: null } }, /serve\.port: null is invalid/],
  [{ serve: { keys: "false" } }, 'serve.keys: "false" is invalid; give true or false'],
  [{ serve: { cors: "https://a" } }, 'serve.cors: "https://a" is invalid; give a list of strings'],
  [
    { serve: { cacheMemory: "2 apples" } },
    /serve\.cacheMemory: "2 apples" is invalid; give a size of 1B or more/,
  ],
  [{ serve: { baseDtype: "int3" } }, /serve\.baseDtype: "int3" is invalid; give one of stored/],
])("what cannot be used of a file is named: %o", (given, message) => {
  expect(() => config(given)).toThrowError(message);
});
