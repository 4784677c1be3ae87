import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { COMMON_LINEARS } from "#models";
import { runs } from "../../../../test/runs.ts";
import { type AdapterConfig, bindMethod, METHOD_NAMES, methods } from "./adapter.ts";
import { checkBase, describeTrainedOn, inferShapes, type TrainedOn, UNKNOWN_TOKENS } from "./base-match.ts";
import type { LayerShapes } from "./method.ts";

const saved = { name: "tiny", fingerprint: "sha256:0123456789abcdef", identity: "sha256:1" };
test.each<[string, string | undefined, true | undefined]>([
  ["the same ids", "sha256:new", undefined],
  ["other ids", "sha256:old", true],
  ["none recorded", undefined, undefined],
  ["an imported adapter, whose ids nobody knows", UNKNOWN_TOKENS, undefined],
])("an adapter with %s", (_, tokens, otherTokens) => {
  const trainedOn = checkBase("a", { ...saved, tokens }, { ...saved, tokens: "sha256:new" });
  expect(trainedOn?.otherTokens).toBe(otherTokens);
  // where no tokenizer is at hand, ids are not compared
  expect(checkBase("a", { ...saved, tokens }, { ...saved, tokens: undefined })).toBeUndefined();
});

test("one line says what differs", () => {
  const { name, fingerprint } = saved;
  const says = (one: Partial<TrainedOn>): string => describeTrainedOn({ name, fingerprint, ...one });
  expect(says({ sameNumbers: true, otherTokens: true })).toBe(
    "trained with token ids that differ from this base's, such as those of numbers in lists and tables: retrain it; used unchanged",
  );
  expect(says({ otherTokens: true })).toMatch(
    /^trained on another quantisation.*tiny.*; trained with token ids that differ.*; used unchanged$/,
  );
  expect(says({})).not.toMatch(/token/);
});

const width = fc.integer({ min: 1, max: 40 }).map((n) => 12 * n);
/** Bases of one hidden width, as decoders are. */
const bases = fc
  .record({ layers: fc.integer({ min: 2, max: 9 }), hidden: width, keyValue: width, inner: width })
  .map(({ layers, hidden, keyValue, inner }): LayerShapes => {
    const [up, down] = [
      { in: hidden, out: inner },
      { in: inner, out: hidden },
    ];
    const [square, narrow] = [
      { in: hidden, out: hidden },
      { in: hidden, out: keyValue },
    ];
    return {
      layers,
      widths: {
        q_proj: square,
        k_proj: narrow,
        v_proj: narrow,
        o_proj: square,
        gate_proj: up,
        up_proj: up,
        down_proj: down,
      },
    };
  });
const targets = fc.subarray([...COMMON_LINEARS], { minLength: 1 });

function listShapes(config: AdapterConfig, shapes: LayerShapes) {
  const { tensors, tensorName } = bindMethod(config);
  return new Map(
    tensors(shapes)
      .filter(({ role }) => role !== "seeded")
      .map(({ name, shape }) => [tensorName(name), shape] as const),
  );
}

describe.each(METHOD_NAMES)("%s", (method) => {
  test("its tensors tell the base that they were made for, or nothing", () => {
    let told = 0;
    fc.assert(
      fc.property(bases, targets, (shapes, names) => {
        const { example, schema } = methods[method];
        const chosen = schema.safeParse({ ...example, targets: names });
        const config: AdapterConfig = chosen.success ? chosen.data : example;
        let found: LayerShapes;
        try {
          found = inferShapes(config, listShapes(config, shapes));
        } catch (error) {
          expect(error).toMatchObject({ code: "bad_option" });
          return;
        }
        told++;
        expect(found.layers).toBe(shapes.layers);
        for (const name of config.targets) expect(found.widths[name]).toEqual(shapes.widths[name]);
      }),
      { numRuns: runs(12) },
    );
    if (!["pure-sharing", "vera", "tied-lora", "lora-xs", "uni-lora"].includes(method))
      expect(told).toBe(runs(12));
  });
});

test("tensors that fit no base give no geometry", () => {
  const config = methods.lora.schema.parse({ method: "lora", targets: ["q_proj"] });
  const shapes = listShapes(config, { layers: 2, widths: { q_proj: { in: 8, out: 8 } } });
  expect(inferShapes(config, shapes).layers).toBe(2);
  shapes.delete("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  for (const broken of [shapes, new Map()])
    expect(() => inferShapes(config, broken)).toThrowError(
      "a lora adapter does not record the number of layers of its base and their widths; pass --model too",
    );
});
