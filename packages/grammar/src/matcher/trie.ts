import type { TokenBytes } from "./token-order.ts";

/**
 * Tokens as a trie of their bytes, in flat arrays. Nodes are numbered depth first, children by byte, so that the nodes below a node are
 * those from the next number up to `nodeEnd`. Node 0 is the root. Tokens with the same bytes share a node.
 */
export interface Trie {
  /** Last byte on the way to each node. */
  readonly nodeByte: Uint8Array;
  /** Number after the last node below each node. */
  readonly nodeEnd: Int32Array;
  /** First token of each node, or −1. */
  readonly nodeToken: Int32Array;
  /** Children of the root. */
  readonly roots: Int32Array;
}

/** Steps of the loops over tokens between two looks at the clock. */
const BATCH = 1024;

/**
 * The trie of sorted tokens: each adds the nodes of those bytes that the token before it does not share. A generator, so that the caller
 * can let others run.
 * @param nextToken - gets another token with the same bytes, for each token that has one
 */
export function* layOut(
  order: Int32Array,
  { bytes, offsets }: TokenBytes,
  nextToken: Int32Array,
): Generator<undefined, Trie> {
  let capacity = 1;
  for (const token of order) capacity += (offsets[token + 1] ?? 0) - (offsets[token] ?? 0);
  const nodeByte = new Uint8Array(capacity);
  const nodeEnd = new Int32Array(capacity);
  const nodeToken = new Int32Array(capacity).fill(-1);
  const path: number[] = [0];
  let nodes = 1;
  let before = 0;
  const close = (depth: number): void => {
    while (path.length > depth) nodeEnd[path.pop() ?? 0] = nodes;
  };
  const sharedBytes = (start: number, length: number): number => {
    const most = Math.min(length, path.length - 1);
    let shared = 0;
    while (shared < most && bytes[start + shared] === bytes[before + shared]) shared++;
    return shared;
  };
  for (let index = 0; index < order.length; index++) {
    if (index % BATCH === 0) yield;
    const token = order[index] ?? 0;
    const start = offsets[token] ?? 0;
    const length = (offsets[token + 1] ?? 0) - start;
    const shared = sharedBytes(start, length);
    close(shared + 1);
    for (let depth = shared; depth < length; depth++) {
      nodeByte[nodes] = bytes[start + depth] ?? 0;
      path.push(nodes++);
    }
    const node = path[length] ?? 0;
    nextToken[token] = nodeToken[node] ?? -1;
    nodeToken[node] = token;
    before = start;
  }
  close(0);
  const trie = {
    nodeByte: nodeByte.slice(0, nodes),
    nodeEnd: nodeEnd.slice(0, nodes),
    nodeToken: nodeToken.slice(0, nodes),
  };
  return { ...trie, roots: childrenOf(trie, 0) };
}

/** Nodes right below a node. */
export function childrenOf({ nodeEnd }: Pick<Trie, "nodeEnd">, parent: number): Int32Array {
  const children: number[] = [];
  const end = nodeEnd[parent] ?? 0;
  for (let node = parent + 1; node < end; node = nodeEnd[node] ?? end) children.push(node);
  return Int32Array.from(children);
}
