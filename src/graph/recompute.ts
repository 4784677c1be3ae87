// Layer checkpointing. Between two checkpoints the backward pass reads values of the forward pass; here they are computed
// again from the checkpoint before, when the gradient of the one behind is there, so that the runtime need not keep them.
import { after } from "./ops/shape.ts";
import { type Node, sortNodes, type Value } from "./value.ts";

/** A value that is kept, and the gradient that arrives there. */
export interface Passed {
  readonly value: Value;
  readonly dy: Value;
}

type Output = Value & {
  readonly source: { readonly kind: "output"; readonly node: Node; readonly index: number };
};
const isOutput = (value: Value): value is Output => value.source.kind === "output";

/**
 * `gradients` of `loss` with everything between two of the checkpoints, given in the order of the backward pass, computed
 * again. What is before the first checkpoint or behind the last is kept.
 */
export function recomputed(
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
  const resumed = new Map<number, Value>(); // checkpoints as the backward pass reads them, by the level behind them

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
    const { dy } = order[level] as Passed; // of the checkpoint behind
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
  // from the last checkpoint to the first, since copies depend on the gradient of the checkpoint behind them
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
