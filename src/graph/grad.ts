import { MosError } from "#core";
import { add } from "./ops/elementwise.ts";
import { type Passed, recomputed } from "./recompute.ts";
import { type Rule, scalar, showShape, type Value } from "./value.ts";

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
  const targets = new Set(inputs);
  const order = rulesBefore(y);
  // only rules on a path to one of the inputs are followed, so that frozen weights cost nothing
  const useful = new Set<Rule>();
  const leads = (value: Value): boolean =>
    targets.has(value) || (value.rule !== undefined && useful.has(value.rule));
  for (const rule of order) if (rule.inputs.some(leads)) useful.add(rule);

  const gradients = new Map<Value, Value>([[y, scalar(1)]]);
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
