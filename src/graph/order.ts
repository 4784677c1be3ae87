import type { Node, Value } from "./value.ts";

/** The nodes that these values need, each once and behind all that it reads. */
export function nodesOf(roots: Iterable<Value>): readonly Node[] {
  const nodes: Node[] = [];
  const seen = new Set<Node>();
  // depth first without recursion: graphs are thousands of nodes deep
  const stack: { readonly node: Node; next: number }[] = [];
  const enter = (value: Value | undefined): void => {
    if (value?.source.kind !== "output" || seen.has(value.source.node)) return;
    seen.add(value.source.node);
    stack.push({ node: value.source.node, next: 0 });
  };
  for (const root of roots) {
    enter(root);
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (top.next < top.node.inputs.length) enter(top.node.inputs[top.next++]);
      else {
        nodes.push(top.node);
        stack.pop();
      }
    }
  }
  return nodes;
}
