// The base over one sequence at a time, with float32 or quantised weights: what it makes of each next token.
import {
  add,
  constant,
  embed,
  leaf,
  linear,
  matmul,
  quantizedLinear,
  reshape,
  softmax,
  type Value,
} from "#graph";
import {
  type AttentionHook,
  decoder,
  dequantizeRows,
  eachLinear,
  floatData,
  floatTensors,
  type LlamaConfig,
  type LoadedModel,
  type Quantization,
  quantizeMatrix,
  weightLeaves,
} from "#models";
import { type LinearHook, modulePath, plainLinear, withBias } from "#nn";
import { compile } from "#runtime";

/** Token ids, and the first one that counts; those from there on are predicted by those before. */
export interface Sequence {
  readonly ids: readonly number[];
  readonly from: number;
}

export interface Scorer extends AsyncDisposable {
  /** Seconds that quantising took. */
  readonly quantizeSeconds: number;
  /** −log p of each counted token. */
  losses(sequence: Sequence): Promise<Float32Array>;
  /** The likeliest token at each counted place. */
  choices(sequence: Sequence): Promise<Int32Array>;
}

/** Quantises and multiplies; a null quantisation leaves the weights as they are. */
interface Products {
  readonly linear: LinearHook;
  readonly head: (x: Value) => Value;
  /** Rows of the embedding. */
  readonly rows: (ids: Int32Array) => Float32Array;
}

const weightOf = ({ weights }: LoadedModel, name: string): Float32Array => {
  const weight = weights.get(name);
  if (weight === undefined) throw new Error(`no weight ${name}`);
  return floatData(weight);
};

const EMBEDDING = "model.embed_tokens.weight";

function plainProducts(model: LoadedModel): Products {
  const { config } = model;
  const table = weightOf(model, EMBEDDING);
  const head = constant(config.tiedHead ? table : weightOf(model, "lm_head.weight"), [
    config.vocabularySize,
    config.hiddenSize,
  ]);
  return {
    linear: plainLinear,
    head: (x) => linear(x, head),
    rows: (ids) => {
      const rows = new Float32Array(ids.length * config.hiddenSize);
      for (const [i, id] of ids.entries())
        rows.set(table.subarray(id * config.hiddenSize, (id + 1) * config.hiddenSize), i * config.hiddenSize);
      return rows;
    },
  };
}

function quantizedProducts(model: LoadedModel, { layers, head, activations }: Quantization): Products {
  const { config } = model;
  const size = { out: config.vocabularySize, in: config.hiddenSize };
  const table = weightOf(model, EMBEDDING);
  const headMatrix = quantizeMatrix(config.tiedHead ? table : weightOf(model, "lm_head.weight"), {
    ...size,
    ...head,
  });
  const embedding = config.tiedHead ? headMatrix : quantizeMatrix(table, { ...size, ...head });
  return {
    linear: (x, site, { weight, bias }) => {
      const [out, width] = weight.shape as readonly [number, number];
      const data = weightOf(model, `${modulePath(site)}.weight`);
      const matrix = quantizeMatrix(data, { out, in: width, ...layers });
      return withBias(quantizedLinear(x, matrix, { activations }), bias);
    },
    head: (x) => quantizedLinear(x, headMatrix, { activations }),
    rows: (ids) => dequantizeRows(embedding, ids),
  };
}

/** Causal attention within the one sequence; all query heads of a key head are rows of one product. */
const causal = ({ heads, keyValueHeads: K, headDim: D }: LlamaConfig): AttentionHook => ({
  heads: "split",
  attend: ({ q, k, v }) => {
    const grouped = reshape(q, [1, K, "grouped", D]); // [1, K, G · S, D]
    const scores = matmul(grouped, k, { transposeB: true, alpha: 1 / Math.sqrt(D) });
    const p = softmax(add(scores, leaf("mask", [1, 1, "grouped", "tokens"])));
    return reshape(matmul(p, v), [1, heads, "tokens", D]);
  },
});

function scoringGraph(config: LlamaConfig, { linear, head }: Products): Readonly<Record<string, Value>> {
  // the sequence's own rows of the embedding stand for all of it: token i has row i
  const weights = new Map(weightLeaves(config)).set(EMBEDDING, leaf("rows", ["tokens", config.hiddenSize]));
  const hidden = decoder(config, {
    ids: leaf("ids", [1, "tokens"], "int32"),
    positions: leaf("positions", [1, "tokens"], "int64"),
    layout: ["tokens"],
    maxPositions: config.maxPositions,
    logitsIndices: leaf("logits_indices", ["logits"], "int32"),
    weights,
    project: eachLinear(weights, linear),
    attention: causal(config),
  });
  const logits = head(hidden); // [logits, V]
  const all = reshape(softmax(logits), ["places", 1]);
  return { logits, p: embed(all, leaf("labels", ["logits"], "int32")) };
}

const NOT_SEEN = -1e9;

function feedsOf({ ids, from }: Sequence, { config, rows }: { config: LlamaConfig; rows: Products["rows"] }) {
  const S = ids.length;
  const groups = config.heads / config.keyValueHeads;
  const counted = Int32Array.from({ length: S - from }, (_, i) => from + i);
  const mask = Float32Array.from({ length: groups * S * S }, (_, i) =>
    i % S > Math.floor(i / S) % S ? NOT_SEEN : 0,
  );
  const range = Int32Array.from({ length: S }, (_, i) => i);
  const V = config.vocabularySize;
  return {
    rows: { shape: [S, config.hiddenSize], data: rows(Int32Array.from(ids)) },
    ids: { shape: [1, S], data: range },
    positions: { shape: [1, S], data: range },
    mask: { shape: [1, 1, groups * S, S], data: mask },
    logits_indices: { shape: [S - from], data: counted.map((i) => i - 1) },
    labels: { shape: [S - from], data: counted.map((id, place) => place * V + (ids[id] ?? 0)) },
  };
}

/** Compiles the base for scoring. The first token of a sequence cannot count: nothing predicts it. */
export async function createScorer(model: LoadedModel, quantization: Quantization | null): Promise<Scorer> {
  const { config } = model;
  const start = performance.now();
  const products = quantization === null ? plainProducts(model) : quantizedProducts(model, quantization);
  const graph = scoringGraph(config, products);
  const quantizeSeconds = (performance.now() - start) / 1000;
  const program = await compile(graph, { inlineLimit: 0 });
  for (const [name, weight] of floatTensors(model.weights))
    if (program.inputs.has(name)) program.bind({ [name]: weight });
  const run = async (sequence: Sequence, name: "logits" | "p"): Promise<Float32Array> => {
    const results = await program.run(feedsOf(sequence, { config, rows: products.rows }), [name]);
    return results[name]?.data as Float32Array;
  };
  return {
    quantizeSeconds,
    losses: async (sequence) => (await run(sequence, "p")).map((p) => -Math.log(p)),
    async choices(sequence) {
      const logits = await run(sequence, "logits");
      const V = config.vocabularySize;
      return Int32Array.from({ length: logits.length / V }, (_, i) => {
        const row = logits.subarray(i * V, (i + 1) * V);
        let best = 0;
        for (let id = 1; id < V; id++) if ((row[id] as number) > (row[best] as number)) best = id;
        return best;
      });
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}
