import { MosError } from "#core";
import { constant, leaf, type Value } from "#graph";
import type { Site } from "#nn";
import type { Adapter } from "./create.ts";
import type { Factors, TensorView } from "./method.ts";
import { methodOf } from "./methods.ts";

/** An adapter as part of a graph. */
export interface AdapterLeaves {
  /** The trained tensors as inputs, named `adapter.<tensor>`, and their content, which training overwrites. */
  readonly trainable: ReadonlyMap<string, Value>;
  readonly parameters: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array }
  >;
  /** The factors of a new graph: call it once for each graph that is built. */
  readonly factors: () => (site: Site) => Factors | undefined;
}

/** The trained tensors of an adapter become leaves of a graph, the frozen ones constants. */
export function adapterLeaves({ config, geometry, tensors }: Adapter): AdapterLeaves {
  const method = methodOf(config);
  const trainable = new Map<string, Value>();
  const parameters = new Map<string, { readonly shape: readonly number[]; readonly data: Float32Array }>();
  const values = new Map<string, Value>();
  for (const { name, role } of method.tensors(geometry)) {
    const tensor = tensors.get(name);
    if (!(tensor?.data instanceof Float32Array)) continue;
    const { shape, data } = tensor;
    const value = role === "trainable" ? leaf(`adapter.${name}`, shape) : constant(data, shape);
    values.set(name, value);
    if (role !== "trainable") continue;
    trainable.set(`adapter.${name}`, value);
    parameters.set(`adapter.${name}`, { shape, data });
  }
  const view: TensorView = {
    value(name) {
      const value = values.get(name);
      if (value === undefined) throw new MosError("bad_adapter", `the adapter has no tensor ${name}`);
      return value;
    },
    indices(name) {
      const data = tensors.get(name)?.data;
      if (!(data instanceof Int32Array))
        throw new MosError("bad_adapter", `the adapter has no index table ${name}`);
      return data;
    },
  };
  return { trainable, parameters, factors: () => method.factors({ geometry, view }) };
}
