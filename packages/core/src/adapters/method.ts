import type { Value } from "mixture-of-shards-graph";
import type { z } from "zod";
import type { Random, Settings } from "#common";
import type { LayerShapes, LinearName, PoolName, TargetModule } from "#models";

export type { LayerShapes, Widths } from "#models";

/** A tensor that a method keeps. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * Trained; or drawn once, frozen and saved; or drawn again from the seed whenever the adapter is loaded, and not
   * saved. Only uniform numbers and permutations may be drawn again: they come from whole numbers, the same on every machine.
   * What is drawn again depends on nothing but the method, the seed, the name, the shape and `below`, so that adapters can share it.
   * With `prepare` it comes from the base's weights instead of the seed.
   */
  readonly role: "trainable" | "frozen" | "seeded";
  readonly dtype: "float32" | "int32";
  /** The entries of an index table are from 0 to below this number. */
  readonly below?: number;
  /** The start, from a stream of random numbers of the tensor's own. */
  readonly initialize: (random: Random) => Float32Array | Int32Array;
  /** The values of a seeded tensor are uniform in ± this. */
  readonly bound?: number;
  /** What has to be awaited before `initialize`, which then gives a part of the base. */
  readonly prepare?: () => Promise<void>;
  /**
   * Problem of content that was read from a file, beyond its shape; undefined if there is none. `before` are the
   * tensors that `tensors()` lists before this one.
   */
  readonly flaw?: (data: Int32Array, before: AdapterTensors) => string | undefined;
}

/** Numbers or indices in row-major order. */
export interface AdapterTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** An adapter's tensors by name. */
export type AdapterTensors = ReadonlyMap<string, AdapterTensor>;

/** A [r, in], Bᵀ [r, out] and the factor on B A of one module. */
export interface Factors {
  readonly a: Value;
  readonly b: Value;
  readonly scale: number;
  /** b as a product: a trained core [r, r] times what all adapters of a base share, as they share a. */
  readonly product?: { readonly core: Value; readonly shared: Value };
}

/** View of a method's tensors while factors are built: graph values, and index tables known now. */
export interface TensorView {
  value(name: string): Value;
  indices(name: string): Int32Array;
}

/** Inputs of a method's factors. */
export interface FactorOptions {
  readonly shapes: LayerShapes;
  readonly view: TensorView;
}

/** Settings of every method. */
export interface CommonConfig {
  /** r, of the factors as they are used. */
  readonly rank: number;
  /** Probability of dropping an input of the adapter's branch, in training only. */
  readonly dropout: number;
  readonly targets: readonly LinearName[];
  readonly seed: number;
}

/** Table of the pool's rows that each layer uses, drawn once. */
export interface RoutingTable {
  /** The linear layers whose vectors they become. */
  readonly linear: PoolName;
  /** Whose vectors the rows become. */
  readonly side: "A" | "B" | "A and B";
  /** Unit of a row: a part of a vector, or a whole one. */
  readonly unit: "shard" | "pair";
  /** The index tensor: a row for each layer that has them. */
  readonly table: string;
  /** Rows that all layers share; they come first. */
  readonly shared: number;
  /** Rows after them that belong to one layer each. */
  readonly private: number;
}

/**
 * A method is a value: what configures it, the tensors it keeps, and the factors it makes of them. Training, merging,
 * exporting and serving all go through `factors`, so they cannot disagree.
 */
export interface AdapterMethod<C extends CommonConfig, S extends Settings = Settings> {
  /** What it does, in a sentence. */
  readonly summary: string;
  /** Settings as data: options and documents are generated from them. */
  readonly settings: S;
  readonly schema: z.ZodType<C>;
  /** A small valid configuration, for tests and docs. */
  readonly example: C;
  /** Throws `bad_config` with what is wrong and what to do. */
  check(config: C, shapes: LayerShapes): void;
  /** The tensors that an adapter of these settings has on this base. */
  tensors(config: C, shapes: LayerShapes): readonly TensorSpec[];
  /** Factors of a module, or undefined where the method does not touch it. */
  factors(config: C, options: FactorOptions): (target: TargetModule) => Factors | undefined;
  /**
   * True if A and B are each linear in the trained tensors: the mean of adapters that differ in nothing else then has the
   * mean of their factors.
   */
  readonly hasLinearFactors: boolean;
  /** Names of the method and its tensors in an adapter's folder. */
  readonly folder: FolderFormat<C>;
  /** The tables of a method that routes. */
  routing?(config: C, shapes: LayerShapes): readonly RoutingTable[];
}

/** The format on disk: PEFT's type, the method's own fields of adapter_config.json, and tensor names. */
export interface FolderFormat<C extends CommonConfig> {
  readonly peftType: string;
  /** PEFT saves such folders too, without the fingerprint of a base; all others must have one. */
  readonly isKnownToPeft: boolean;
  /** Names in adapter_config.json of the settings that only this method has. A missing one does not compile. */
  readonly settings: { readonly [K in Exclude<keyof C, keyof CommonConfig | "method">]: string };
  /** Fields that always have the same value, for PEFT to read. */
  readonly constants: Readonly<Record<string, unknown>>;
  readonly tensorName: (name: string) => string;
}
