import type { Automaton } from "./automaton.ts";

/** How a state was reached. */
interface Step {
  readonly from: number;
  readonly byte: number;
}

/** The bytes of a shortest way from a state to one that accepts; undefined where there is none. */
export function shortestPath(automaton: Automaton, start: number): Uint8Array | undefined {
  if (automaton.isNothing(start)) return undefined;
  const steps = new Map<number, Step>([[start, { from: -1, byte: 0 }]]);
  // a Map is visited in the order of insertion, also while it grows
  for (const state of steps.keys()) {
    if (automaton.accepts(state)) return collectBytes(steps, state);
    for (const byte of automaton.classes(state).representatives) {
      const next = automaton.derive(state, byte);
      if (!steps.has(next) && !automaton.isNothing(next)) steps.set(next, { from: state, byte });
    }
  }
  return undefined;
}

function collectBytes(steps: ReadonlyMap<number, Step>, last: number): Uint8Array {
  const bytes: number[] = [];
  for (let step = steps.get(last); step !== undefined && step.from >= 0; step = steps.get(step.from)) {
    bytes.push(step.byte);
  }
  return Uint8Array.from(bytes.reverse());
}
