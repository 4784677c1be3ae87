import fc from "fast-check";
import {
  add,
  compile,
  concat,
  constant,
  div,
  embed,
  exp,
  gatedUnit,
  gatherRows,
  grad,
  leaf,
  linear,
  lowRankLinear,
  matmul,
  mean,
  mul,
  neg,
  reshape,
  rmsNorm,
  scalar,
  sigmoid,
  silu,
  slice,
  softmax,
  split,
  sub,
  sum,
  transpose,
  type Value,
} from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import { randomStream } from "#common";
import { runs } from "../../../test/runs.ts";

/** Rows and columns of every value; small enough for quick programs. */
const R = 3;
const C = 4;

/** Operations from [R, C] values to one, whose results stay of moderate size. */
const operations: readonly ((a: Value, b: Value) => Value)[] = [
  (a, b) => mul(add(a, b), scalar(0.7)),
  (a, b) => sub(a, mean(b, [1])),
  (a, b) => mul(sigmoid(a), b),
  (a) => neg(silu(a)),
  (a, b) => gatedUnit(a, b),
  (a) => softmax(a),
  (a, b) => div(a, add(exp(sigmoid(b)), scalar(1))),
  (a, b) => rmsNorm(a, reshape(slice(b, { axis: 0, from: 1, to: 2 }), [C]), { epsilon: 1e-2 }),
  (a, b) => matmul(matmul(a, b, { transposeB: true, alpha: 0.3 }), a),
  (a, b) => matmul(a, matmul(b, a, { transposeA: true, alpha: 0.3 })),
  (a, b) => transpose(mul(transpose(a, [1, 0]), transpose(b, [1, 0])), [1, 0]),
  (a, b) => reshape(add(reshape(a, [R * C]), sum(reshape(b, [R * C]), [0])), [R, C]),
  (a, b) => {
    const [left, right] = split(a, { axis: 1, sizes: [1, C - 1] });
    return concat([mul(right!, scalar(0.5)), slice(concat([left!, b], 1), { axis: 1, from: 0, to: 1 })], 1);
  },
  (a, b) => add(gatherRows(a, Int32Array.of(2, 0, 2)), embed(b, constant(Int32Array.of(1, 1, 0)))),
  (a, b) => linear(a, matmul(b, b, { transposeA: true, alpha: 0.3 })),
  (a, b) =>
    lowRankLinear(a, matmul(b, b, { transposeA: true, alpha: 0.2 }), {
      a: slice(b, { axis: 0, from: 0, to: 2 }),
      b: slice(a, { axis: 0, from: 1, to: 3 }),
      scale: 0.3,
    }),
];

interface Step {
  readonly operation: number;
  readonly left: number;
  readonly right: number;
}

/** Each step takes two of the values before it, so that values are used any number of times. */
function build(inputs: readonly Value[], steps: readonly Step[]): Value {
  const values = [...inputs];
  for (const { operation, left, right } of steps) {
    const [a, b] = [values[left % values.length]!, values[right % values.length]!];
    values.push(operations[operation]!(a, b));
  }
  // every value counts, so that none of the steps is without effect
  return values.map((value) => sum(mul(value, value))).reduce((a, b) => add(a, mul(b, scalar(0.5))));
}

/** Compares the slope along a random direction with a difference quotient. */
async function check(steps: readonly Step[], seed: number): Promise<void> {
  const inputs = ["x0", "x1"].map((name) => leaf(name, [R, C]));
  const loss = build(inputs, steps);
  const gradients = grad(loss, inputs);
  await using program = await compile({ loss, g0: gradients[0]!, g1: gradients[1]! });
  const random = randomStream(seed, "numbers");
  const draw = () => Float32Array.from({ length: R * C }, () => random.normal());
  const at = [draw(), draw()];
  const direction = [draw(), draw()];
  const moved = (h: number) =>
    Object.fromEntries(
      at.map((x, i) => [
        `x${i}`,
        { shape: [R, C], data: x.map((value, k) => value + h * direction[i]![k]!) },
      ]),
    );
  const lossAt = async (h: number): Promise<number> =>
    (await program.run(moved(h), ["loss"]))["loss"]!.data[0]!;
  const exact = await program.run(moved(0));
  let slope = 0;
  let size = Math.abs(exact["loss"]!.data[0]!);
  for (const [i, d] of direction.entries())
    d.forEach((x, k) => {
      const part = x * exact[`g${i}`]!.data[k]!;
      slope += part;
      size += Math.abs(part);
    });
  // Richardson: the error is of fourth order, so that a step large enough for float32 can be taken
  const h = 2 ** -7;
  const central = async (s: number) => ((await lossAt(s)) - (await lossAt(-s))) / (2 * s);
  const numeric = (4 * (await central(h / 2)) - (await central(h))) / 3;
  expect(Math.abs(numeric - slope) / size, `${numeric} against ${slope}`).toBeLessThan(2e-3);
}

test.each(operations.map((_, i) => i))(
  "operation %i alone, and of one value twice, agrees with finite differences",
  async (operation) => {
    await check([{ operation, left: 0, right: 1 }], operation);
    await check([{ operation, left: 1, right: 1 }], operation);
  },
);

test("random compositions agree with finite differences", async () => {
  const step = fc.record({ operation: fc.nat(operations.length - 1), left: fc.nat(6), right: fc.nat(6) });
  const steps = fc.array(step, { minLength: 2, maxLength: 7 });
  await fc.assert(fc.asyncProperty(steps, fc.nat(), check), { numRuns: runs(50) });
});
