// Base + adapter as a GGUF file, of a base that is one: its header stays as it is, tokenizer and chat template with it.
import type { Adapter } from "#adapters";
import { countElements, MosError } from "#common";
import {
  assertSpace,
  fileBytes,
  type GgufFile,
  makeFolder,
  openGguf,
  openGgufWriter,
  type PlannedGgufTensor,
  readableType,
  writeNumbers,
} from "#files";
import {
  ggufName,
  isMatrix,
  type LoadProgress,
  type ModelFiles,
  reorderColumns,
  reorderRows,
  weightShapes,
} from "#models";
import { dirname } from "#platform";
import { checkRange, FILE_TYPES, type FileDtype, STORED, type StoredDtype } from "./file-dtype.ts";
import { assertGoesOn, assertStillFree, mergedParts, targetsByTensor } from "./merged-weights.ts";

/** Bytes that are copied at a time. */
const CHUNK = 1 << 22;

interface MergeGgufOptions {
  readonly model: ModelFiles;
  /** Adapter of this base: the caller has compared the fingerprints. */
  readonly adapter: Adapter;
  /** Type of all matrices. */
  readonly dtype: FileDtype;
  readonly signal: AbortSignal | undefined;
}

/** A tensor of the file, and the weights that it holds where they are merged; without any it is copied. */
type Tensor = PlannedGgufTensor & { readonly weights: readonly string[] };

/** Matrices get the type that is asked for, since blocks cannot hold sums; gains, biases and kernels are copied. */
export async function* writeMergedGguf(
  path: string,
  options: MergeGgufOptions,
): AsyncGenerator<LoadProgress, void> {
  const { model, adapter, dtype, signal } = options;
  await using base = await openGguf(model.weightFiles[0] ?? model.path);
  if ((base.metadata["general.alignment"] ?? 32) !== 32)
    throw new MosError("unsupported", `${base.path}: general.alignment is not 32; merge into a folder`);
  const tensors = planTensors(base, options);
  const sizes = tensors.map(({ type, shape }) => fileBytes(type, countElements(shape)));
  const totalBytes = sizes.reduce((sum, size) => sum + size, 0);
  await assertSpace(path, { what: "the merged model", bytes: totalBytes });
  await makeFolder(dirname(path));
  await using file = await openGgufWriter(path, await base.readKeys(FILE_TYPES[dtype]), tensors);
  const targets = targetsByTensor(adapter);
  let doneBytes = 0;
  for (const [i, tensor] of tensors.entries()) {
    assertGoesOn(signal);
    const { name } = tensor;
    const target = { write: (bytes: Uint8Array) => file.write(name, bytes) };
    if (tensor.weights.length > 0) await writeMerged(target, tensor, { ...options, targets });
    else for await (const bytes of copied(base, name, sizes[i] ?? 0)) await target.write(bytes);
    doneBytes += sizes[i] ?? 0;
    yield { done: i + 1, total: tensors.length, doneBytes, totalBytes, name };
  }
  await assertStillFree(path);
  await file.commit();
}

/** The tensors of the base's file, in its order. */
function planTensors(base: GgufFile, { model: { config }, dtype }: MergeGgufOptions): readonly Tensor[] {
  const matrices = new Map<string, string[]>();
  for (const [weight, shape] of weightShapes(config)) {
    const name = ggufName(config, weight);
    if (isMatrix(shape)) matrices.set(name, [...(matrices.get(name) ?? []), weight]);
  }
  return [...base.tensors].map(([name, { type, shape }]) => {
    const weights = matrices.get(name);
    if (weights !== undefined) return { name, shape, type: STORED[dtype], weights };
    return { name, shape, type: readableType(type, `${base.path}: tensor "${name}"`), weights: [] };
  });
}

async function writeMerged(
  target: Parameters<typeof writeNumbers>[0],
  { name, type, weights }: Tensor,
  { model, adapter, targets }: MergeGgufOptions & { readonly targets: ReturnType<typeof targetsByTensor> },
): Promise<void> {
  const stored = { name, dtype: type as StoredDtype };
  for (const weight of weights) {
    const order = { config: model.config, name: weight, direction: "toFile" } as const;
    for await (const part of mergedParts(weight, { model, adapter }, targets.get(weight))) {
      checkRange(part, stored);
      await writeNumbers(target, reorderColumns(reorderRows(part, order), order), stored.dtype);
    }
  }
}

/** The bytes of a tensor as they stand in a file. */
async function* copied(file: GgufFile, name: string, size: number): AsyncGenerator<Uint8Array, void> {
  for (let begin = 0; begin < size; begin += CHUNK) {
    const bytes = new Uint8Array(Math.min(CHUNK, size - begin));
    await file.readInto(name, bytes, begin);
    yield bytes;
  }
}
