import { describe, expect, test } from "vitest";
import { randomStream } from "#core";
import { embed, leaf, linear, reshape } from "#graph";
import { createDecoder, type DecoderOptions, type RowAdapter, type SlotFactors } from "#inference";
import { llamaHead, weightLeaves } from "#models";
import { LINEAR_NAMES, plainLinear } from "#nn";
import { geometryOf } from "#recipes";
import { compile } from "#runtime";
import { hiddenStates } from "#training";
import { tinyModel } from "./tiny-model.ts";

const { config, weights } = tinyModel({ overrides: { max_position_embeddings: 400 } });

const ids = (length: number, seed = 0): number[] => {
  const random = randomStream(seed, "ids");
  return Array.from({ length }, () => random.below(config.vocabularySize));
};

const decoderOf = (options: Partial<DecoderOptions> = {}) =>
  createDecoder({ config, weightData: weights, rows: [undefined], maxLength: 400, ...options });

/** Random factors, on all linear layers or some. */
function randomAdapter(rank: number, seed: number, names: readonly string[] = LINEAR_NAMES): RowAdapter {
  const { widths } = geometryOf(config);
  const sites = new Map<string, SlotFactors>();
  for (let layer = 0; layer < config.layers; layer++)
    for (const name of LINEAR_NAMES) {
      const width = widths[name]!;
      const random = randomStream(seed, `${layer}.${name}`);
      const draw = (n: number) => Float32Array.from({ length: n * rank }, () => 0.2 * random.normal());
      if (names.includes(name))
        sites.set(`${layer}.${name}`, { rank, a: draw(width.in), b: draw(width.out), scale: 1.5 });
    }
  return sites;
}

function expectClose(left: Float32Array, right: Float32Array, limit = 1e-4): void {
  expect(left).toHaveLength(config.vocabularySize);
  expect(right).toHaveLength(config.vocabularySize);
  const worst = left.reduce((most, x, i) => Math.max(most, Math.abs(x - right[i]!)), 0);
  expect(worst).toBeLessThan(limit);
}

/** Logits behind every token, by the graph that training uses. */
async function trainingLogits(tokens: readonly number[]): Promise<readonly Float32Array[]> {
  const length = tokens.length;
  const leaves = weightLeaves(config);
  const { norm, head } = llamaHead(config, leaves);
  const hidden = hiddenStates(config, {
    shape: { rows: 1, length },
    weights: leaves,
    linear: plainLinear,
    queryBlock: 50,
  });
  await using program = await compile({ logits: linear(norm(hidden), head) });
  const shape = [1, length];
  const { logits } = await program.run({
    ...Object.fromEntries(weights),
    ids: { shape, data: Int32Array.from(tokens) },
    positions: { shape, data: Int32Array.from(tokens, (_, i) => i) },
    segments: { shape, data: new Int32Array(length).fill(1) },
  });
  const data = logits!.data as Float32Array;
  return tokens.map((_, i) => data.subarray(i * config.vocabularySize, (i + 1) * config.vocabularySize));
}

describe("the decoder's logits", () => {
  test("are the same whether a lone adapter is merged into its weights or kept in a slot", async () => {
    const adapter = randomAdapter(3, 5);
    const untouched = weights.get("model.layers.0.self_attn.q_proj.weight")!.data.slice();
    await using merged = await decoderOf({ rows: [adapter] });
    await using slotted = await decoderOf({ rows: [adapter], mergeLimit: 0 });
    await using base = await decoderOf();
    const tokens = ids(20, 4);
    const [m, s, b] = [
      (await merged.append([tokens]))[0]!,
      (await slotted.append([tokens]))[0]!,
      (await base.append([tokens]))[0]!,
    ];
    expectClose(m, s);
    expect(Math.max(...m.map((x, i) => Math.abs(x - b[i]!)))).toBeGreaterThan(0.1);
    expect(weights.get("model.layers.0.self_attn.q_proj.weight")!.data).toEqual(untouched);
  });

  test("are the training graph's, whether tokens come at once, in parts, or one by one across growing caches", async () => {
    const tokens = ids(330);
    const expected = await trainingLogits(tokens);
    await using decoder = await decoderOf();
    for (const [i, token] of tokens.entries()) {
      const [logits] = await decoder.append([[token]]);
      if ([0, 1, 62, 63, 64, 65, 95, 96, 127, 128, 191, 192, 256, 287, 288, 329].includes(i))
        expectClose(logits!, expected[i]!);
    }
    for (const cuts of [[330], [63, 64, 65, 97, 330], [1, 129, 330], [300, 330]]) {
      decoder.clear();
      let from = 0;
      for (const to of cuts) {
        const [logits] = await decoder.append([tokens.slice(from, to)]);
        expectClose(logits!, expected[to - 1]!);
        expect(decoder.lengths).toEqual([to]);
        from = to;
      }
    }
  });

  test("of rows side by side are those of each row alone, with adapters and lengths of their own", async () => {
    const rows: RowAdapter[] = [
      randomAdapter(3, 1),
      undefined,
      randomAdapter(1, 2, ["q_proj", "down_proj"]),
      randomAdapter(5, 3, ["v_proj", "gate_proj"]),
    ];
    // rows are fed in turns: some nothing, some more than one block
    const turns = [
      [ids(5, 1), ids(70, 2), ids(1, 3), ids(20, 4)],
      [ids(3, 5), [], ids(9, 6), ids(1, 7)],
      [[], [], ids(80, 8), []],
      [ids(60, 9), ids(2, 10), [], ids(1, 11)],
    ];
    await using together = await decoderOf({ rows });
    const alone = await Promise.all(rows.map((row) => decoderOf({ rows: [row] })));
    for (const turn of turns) {
      const logits = await together.append(turn);
      for (const [row, tokens] of turn.entries()) {
        if (tokens.length === 0) expect(logits[row]).toHaveLength(0);
        else expectClose(logits[row]!, (await alone[row]!.append([tokens]))[0]!);
      }
    }
    expect(together.lengths).toEqual(alone.map((one) => one.lengths[0]));
    for (const one of alone) await one[Symbol.asyncDispose]();
  });

  test("with an adapter are those of merged weights", async () => {
    const adapter = randomAdapter(3, 1)!;
    const merged = new Map(weights);
    for (const [site, { rank, a, b, scale }] of adapter) {
      const [layer, name] = site.split(".");
      const key = [...weights.keys()].find(
        (one) => one.includes(`layers.${layer}.`) && one.includes(`${name}.weight`),
      )!;
      const { shape, data } = weights.get(key)!;
      const width = shape[1]!;
      const changed = data.map((w, i) => {
        const [row, column] = [Math.floor(i / width), i % width];
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b[r * shape[0]! + row]! * a[r * width + column]!;
        return w + scale * sum;
      });
      merged.set(key, { shape, data: changed });
    }
    await using branch = await decoderOf({ rows: [adapter] });
    await using plain = await decoderOf({ weightData: merged });
    const [left] = await branch.append([ids(20)]);
    const [right] = await plain.append([ids(20)]);
    expectClose(left!, right!);
    await using base = await decoderOf();
    expect((await base.append([ids(20)]))[0]).not.toEqual(left);
  });
});

describe("a decoder", () => {
  test("starts again after clear, without a trace of what it held", async () => {
    await using decoder = await decoderOf();
    const [first] = await decoder.append([ids(30)]);
    decoder.clear();
    expect(decoder.lengths).toEqual([0]);
    await decoder.append([ids(100, 5)]);
    decoder.clear();
    const [again] = await decoder.append([ids(30)]);
    expectClose(again!, first!, 1e-6);
  });

  test("takes its longest sequence to the last token, and no more", async () => {
    await using decoder = await decoderOf({ maxLength: 70, rows: [undefined, undefined] });
    await decoder.append([ids(69), ids(3)]);
    await expect(decoder.append([ids(2), []])).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: "a sequence of 71 tokens does not fit into 70",
      }),
    );
    expect(decoder.lengths).toEqual([69, 3]);
    await decoder.append([ids(1), []]);
    // a full row waits while another one goes on
    const [none, logits] = await decoder.append([[], ids(1)]);
    expect(none).toHaveLength(0);
    await using alone = await decoderOf();
    const [expected] = await alone.append([[...ids(3), ...ids(1)]]);
    expectClose(logits!, expected!);
  });

  test("refuses more places than the model has", async () => {
    await expect(decoderOf({ maxLength: 401 })).rejects.toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: "401 tokens are more than the 400 that this model was made for",
      }),
    );
  });

  test("refuses another number of rows than it has", async () => {
    await using decoder = await decoderOf({ rows: [undefined, undefined] });
    await expect(decoder.append([ids(3)])).rejects.toThrowError(
      expect.objectContaining({ code: "bad_option", message: "1 rows of tokens for a decoder of 2 rows" }),
    );
  });

  test("says so when a token is outside the vocabulary", async () => {
    await using decoder = await decoderOf();
    for (const id of [config.vocabularySize, -1])
      await expect(decoder.append([[1, id]])).rejects.toThrowError(
        expect.objectContaining({
          code: "bad_data",
          message: `token ${id} is outside the model's vocabulary of 48; does the tokenizer belong to this model?`,
        }),
      );
  });

  test("gives nothing for nothing, and can be disposed twice", async () => {
    const decoder = await decoderOf();
    expect(await decoder.append([[]])).toEqual([new Float32Array(0)]);
    await decoder[Symbol.asyncDispose]();
    await decoder[Symbol.asyncDispose]();
  });
});

test("reshape and embed agree on flat places", async () => {
  // what the decoder relies on when it picks the rows whose logits are wanted
  const table = leaf("table", ["b", "s", 2]);
  const picked = embed(reshape(table, ["rows", 2]), leaf("wanted", ["n"], "int32"));
  await using program = await compile({ picked });
  const { picked: rows } = await program.run({
    table: { shape: [2, 3, 2], data: Float32Array.from({ length: 12 }, (_, i) => i) },
    wanted: { shape: [2], data: Int32Array.of(1, 5) },
  });
  expect([...rows!.data]).toEqual([2, 3, 10, 11]);
});
