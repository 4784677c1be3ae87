import { OpenAPIHono } from "@hono/zod-openapi";
import { expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "../../service/src/api/index.ts";
import {
  fieldOf,
  parseField,
  rangeOf,
  readFields,
  type SettingField,
  showValue,
} from "../src/views/new-run/fields.ts";

/** The fields of the document that a server with the service has now. */
async function serverFields(): Promise<readonly SettingField[]> {
  const app = new OpenAPIHono();
  addServiceRoutes(app as Parameters<typeof addServiceRoutes>[0], {} as ServiceEnv); // nothing is asked
  return readFields(app.getOpenAPI31Document({ openapi: "3.1.0", info: { title: "", version: "" } }));
}

const fields = await serverFields();
const field = (name: string): SettingField => {
  const found = fields.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no field ${name}`);
  return found;
};

test("all settings of the server are fields with a kind and a help", () => {
  expect(fields.length).toBeGreaterThan(30);
  for (const { name, help } of fields) expect(help, name).not.toBe("");
  expect(field("adapter")).toMatchObject({ kind: "choice", standard: "mos", option: "--method" });
  expect(field("adapter").methods).toMatchObject({ lora: { help: expect.stringMatching(/^Every layer/) } });
  expect(field("adapter").choices).toContain("prolora");
  expect(field("target_modules")).toMatchObject({ kind: "list", standard: "all", option: "--targets" });
  expect(field("target_modules").choices).toContain("q_proj");
});

test("bounds, defaults and scopes are those of the settings", () => {
  expect(field("rank")).toMatchObject({ kind: "integer", minimum: 1, maximum: 65536 });
  expect(rangeOf(field("learning_rate"))).toBe("above 0 to 10");
  expect(rangeOf(field("max_length"))).toBe("2 or more");
  expect(field("epochs").standard).toMatch(/^by the data: 30 for 40 examples/);
  expect(Object.keys(field("equivalent_rank").methods ?? {})).toEqual(["mos", "subset-selection"]);
  expect(fieldOf(field("equivalent_rank"), "mos")).toMatchObject({
    label: "Budget (equivalent LoRA rank)",
    help: "parameter budget, as the rank of a LoRA with as many trainable parameters",
  });
  expect(fieldOf(field("alpha"), "vera")).toBeUndefined();
  expect(fieldOf(field("alpha"), "lora")).toMatchObject({ standard: "16" });
  expect(fieldOf(field("pair_dissociation"), "mos")).toMatchObject({
    kind: "flag",
    option: "--no-pair-dissociation",
    help: "false: route B with the same indices as A",
    standard: "true",
  });
  expect(field("max_gradient_norm")).toMatchObject({ label: undefined, methods: undefined });
  expect(field("priority")).toMatchObject({ option: undefined, standard: "that of the key" });
});

test("what is typed becomes a value, or is said to be wrong", () => {
  const parse = (name: string, text: string) => parseField(text, field(name));
  expect(parse("steps", " 40 ")).toEqual({ value: 40 });
  expect(parse("learning_rate", "2e-3")).toEqual({ value: 0.002 });
  expect(parse("steps", "4.5")).toEqual({ problem: "Enter a whole number from 1 to 10000000" });
  expect(parse("dropout", "1")).toEqual({ problem: "Enter a number from 0 below 1" });
  expect(parse("target_modules", "q_proj, v_proj")).toEqual({ value: ["q_proj", "v_proj"] });
  expect(parse("target_modules", "q_proj, lm_head")).toHaveProperty("problem");
  expect(parse("chat_template_kwargs", '{"a":1}')).toEqual({ value: { a: 1 } });
  expect(parse("chat_template_kwargs", "[1]")).toHaveProperty("problem");
  expect(parse("packing", "false")).toEqual({ value: false });
});

test("a value that is shown is read again as it was", () => {
  const values = {
    steps: 7,
    warmup: 0.03,
    packing: false,
    schedule: "cosine",
    target_modules: ["q_proj", "v_proj"],
  };
  for (const [name, value] of Object.entries(values))
    expect(parseField(showValue(value), field(name))).toEqual({ value });
});

test("a document without the service has no fields", () => {
  for (const document of [undefined, null, [], {}, { components: { schemas: {} } }])
    expect(readFields(document)).toEqual([]);
});

test("the default of a method", () => {
  const standard = (name: string, method: string) => fieldOf(field(name), method)?.standard;
  expect(standard("rank", "mos")).toBe("8");
  expect(standard("rank", "random-scaling")).toBe("64");
  expect(standard("rank", "vera")).toBe("256");
  expect(standard("max_length", "vera")).toBe("what the data need");
});
