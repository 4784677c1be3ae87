import { MosError } from "./error.ts";
import { add } from "./ops/elementwise.ts";
import { after } from "./ops/shape.ts";
import { type Node, type Rule, scalar, showShape, sortNodes, type Value } from "./value.ts";

/** The gradient rules between `y` and its leaves in topological order: each after all that it depends on. */
function rulesBefore(y: Value): readonly Rule[] {
  const order: Rule[] = [];
  const seen = new Set<Rule>();
  const stack: { readonly rule: Rule; next: number }[] = [];
  const enter = (rule: Rule | undefined): void => {
    if (rule === undefined || seen.has(rule)) return;
    seen.add(rule);
    stack.push({ rule, next: 0 });
  };
  enter(y.rule);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const input = top.rule.inputs[top.next++];
    if (input !== undefined) enter(input.rule);
    else order.push((stack.pop() as { rule: Rule }).rule);
  }
  return order;
}

/**
 * Reverse-mode gradients of a scalar with respect to `inputs`: leaves, or any values that it was computed from. Each
 * has the shape of its input.
 *
 * @throws MosError `bad_config` where `y` is not a scalar or does not depend on one of the inputs.
 * @example
 * const [dw] = grad(meanSquare(matmul(x, w)), [w]);
 */
export function grad(y: Value, inputs: readonly Value[]): readonly Value[] {
  if (y.shape.length !== 0)
    throw new MosError("bad_config", `grad needs a scalar, not ${showShape(y.shape)}`);
  return pullBack(y, scalar(1), inputs);
}

/**
 * Gradients with respect to `inputs` of a scalar whose gradient with respect to y is dy, as `grad` gives them: what the rule of
 * an op needs that computes its result again.
 */
export function pullBack(y: Value, dy: Value, inputs: readonly Value[]): readonly Value[] {
  const targets = new Set(inputs);
  const order = rulesBefore(y);
  // only rules on a path to one of the inputs are followed, so that frozen weights cost nothing
  const useful = new Set<Rule>();
  const leads = (value: Value): boolean =>
    targets.has(value) || (value.rule !== undefined && useful.has(value.rule));
  for (const rule of order) if (rule.inputs.some(leads)) useful.add(rule);

  const gradients = new Map<Value, Value>([[y, dy]]);
  const checkpoints: Passed[] = [];
  for (const rule of [...order].reverse()) {
    if (!useful.has(rule)) continue;
    const given = rule.outputs.map((output) => gradients.get(output));
    if (given.every((dy) => dy === undefined)) continue;
    if (rule.isCheckpoint === true)
      checkpoints.push({ value: rule.outputs[0] as Value, dy: given[0] as Value });
    const flowing = rule.vjp(given);
    rule.inputs.forEach((input, i) => {
      const dx = flowing[i];
      if (dx === undefined || !leads(input)) return;
      const before = gradients.get(input);
      gradients.set(input, before === undefined ? dx : add(before, dx));
    });
  }
  const found = inputs.map((input) => {
    const gradient = gradients.get(input);
    if (gradient === undefined)
      throw new MosError("bad_config", "grad: the result does not depend on one of the inputs");
    return gradient;
  });
  return checkpoints.length === 0 ? found : recomputed(y, { gradients: found, checkpoints });
}

// Layer checkpointing. Between two checkpoints the backward pass reads values of the forward pass; here they are computed
// again from the checkpoint before, when the gradient of the one after it is there, so that the runtime need not keep them.

/** A value that is kept, and the gradient that arrives there. */
interface Passed {
  readonly value: Value;
  readonly dy: Value;
}

type Output = Value & {
  readonly source: { readonly kind: "output"; readonly node: Node; readonly index: number };
};
const isOutput = (value: Value): value is Output => value.source.kind === "output";

/**
 * `gradients` of `loss` with everything between two of the checkpoints, given in the order of the backward pass, computed
 * again. Values before the first checkpoint or after the last are kept.
 */
function recomputed(
  loss: Value,
  {
    gradients,
    checkpoints,
  }: { readonly gradients: readonly Value[]; readonly checkpoints: readonly Passed[] },
): readonly Value[] {
  const order = [...checkpoints].reverse();
  const levels = countCheckpoints(loss, order);
  const kept = new Map<Node, number>(
    order.flatMap(({ value }, i) => (isOutput(value) ? [[value.source.node, i + 1] as const] : [])),
  );
  const changed = new Map<Node, Node>(); // nodes of the backward pass, and copies of the forward pass
  const resumed = new Map<number, Value>(); // checkpoints as the backward pass reads them, by the level after them

  const replaced = (value: Value): Value => {
    if (!isOutput(value)) return value;
    const { node, index } = value.source;
    const level = levels.get(node);
    if (level === undefined) return reproduced(value, changed.get(node) ?? node, index);
    const begins = kept.get(node);
    if (begins !== undefined) return begins < order.length ? resume(begins, value) : value;
    if (level === 0 || level >= order.length) return value;
    return reproduced(value, copyNode(node), index);
  };
  const resume = (level: number, value: Value): Value => {
    const found = resumed.get(level);
    if (found !== undefined) return found;
    const { dy } = order[level] as Passed; // of the checkpoint after it
    const made = after(value, [replaced(dy)]);
    resumed.set(level, made);
    return made;
  };
  const copyNode = (node: Node): Node => {
    const found = changed.get(node);
    if (found !== undefined) return found;
    const copy = { ...node, inputs: node.inputs.map((input) => input && replaced(input)) };
    changed.set(node, copy);
    return copy;
  };
  // from the last checkpoint to the first, since copies depend on the gradient of the checkpoint after them
  const seen = new Set<Node>();
  for (const roots of [...checkpoints.map(({ dy }) => [dy]), gradients])
    for (const node of sortNodes(roots, seen)) if (!levels.has(node)) copyNode(node);
  return gradients.map(replaced);
}

const reproduced = (value: Value, node: Node, index: number): Value => ({
  shape: value.shape,
  dtype: value.dtype,
  source: { kind: "output", node, index },
});

/** For every node of the forward pass, how many of the checkpoints it depends on; a checkpoint's own node not counting it. */
function countCheckpoints(loss: Value, order: readonly Passed[]): ReadonlyMap<Node, number> {
  const behind = new Map<Node, number>();
  order.forEach(({ value }, i) => {
    if (isOutput(value)) behind.set(value.source.node, i + 1);
  });
  const levels = new Map<Node, number>();
  for (const node of sortNodes([loss])) {
    const inputs = node.inputs.map((input) => {
      if (input === undefined || !isOutput(input)) return 0;
      return behind.get(input.source.node) ?? levels.get(input.source.node) ?? 0;
    });
    levels.set(node, Math.max(0, ...inputs));
  }
  return levels;
}
