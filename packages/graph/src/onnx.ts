import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { MosError } from "./error.ts";
import { float16Value } from "./float16.ts";
import type { DType, TensorType } from "./tensor-type.ts";
import {
  type Attribute,
  type FileRange,
  type Node,
  type Source,
  sortNodes,
  type TensorData,
  TYPE_NUMBERS,
  type Value,
} from "./value.ts";

// Numbers of the fields and types are those of onnx.proto (ONNX 1.16, IR version 10).
const OPSET = 21;
/** Operators that came later, and the opset of a program that has one. */
const LATER: Readonly<Record<string, number>> = { BitCast: 26 };
const IR_VERSION = 10;
const message = (writer: BinaryWriter, field: number, write: (inner: BinaryWriter) => void): void => {
  writer.tag(field, WireType.LengthDelimited).fork();
  write(writer);
  writer.join();
};
const text = (writer: BinaryWriter, field: number, value: string): BinaryWriter =>
  writer.tag(field, WireType.LengthDelimited).string(value);
const integer = (writer: BinaryWriter, field: number, value: number): BinaryWriter =>
  writer.tag(field, WireType.Varint).int64(value);

/** A constant outside of the model's own bytes, which belongs into a file beside it at `offset` (bytes). */
type ExternalData = Pick<FileRange, "file" | "offset"> & { readonly bytes: Uint8Array };

/** A program as ONNX. */
export interface SerializedProgram {
  /** The bytes of an .onnx file. */
  readonly model: Uint8Array;
  /** Names, shapes and types of the leaves that a run must be fed. */
  readonly inputs: ReadonlyMap<string, TensorType>;
  /** Constants that are not in `model`; empty unless all together exceed `inlineLimit`. */
  readonly external: readonly ExternalData[];
  /** The folder of the files that constants refer to: the model must lie there too. Undefined where none does. */
  readonly folder: string | undefined;
  /** Names of those files. */
  readonly files: readonly string[];
}

/** Where constants go, and what else is written in another way. */
export interface SerializeOptions {
  /** Constants of at least this many bytes become external data once all together exceed `inlineLimit`; 1024. */
  readonly externalAbove?: number;
  /** Bytes of all constants up to which they stay in the model, since a protobuf message ends at 2 GiB; 1.5 GiB. */
  readonly inlineLimit?: number;
  /** The file name that external data refer to; "weights.bin". */
  readonly externalName?: string;
  /** Gives each external constant a file of its own, by that name with a number (false). */
  readonly separateFiles?: boolean;
  /** Contents of leaves that become constants. */
  readonly fixed?: Readonly<Record<string, { readonly data: TensorData }>>;
  /** Writes FusedMatMul as operators of ONNX itself (false). */
  readonly standardProducts?: boolean;
  /** Writes constants of float16 as float32, for devices that cannot read them (false). */
  readonly widensHalves?: boolean;
}

const encodeData = (data: TensorData, dtype: DType): Uint8Array => {
  if (dtype === "int64") {
    const wide = BigInt64Array.from(data as Int32Array, BigInt);
    return new Uint8Array(wide.buffer);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
};

function writeAttribute(writer: BinaryWriter, name: string, value: Attribute): void {
  text(writer, 1, name);
  if (typeof value === "number") {
    integer(writer, 3, value);
    integer(writer, 20, 2);
  } else if (typeof value === "string") {
    text(writer, 4, value);
    integer(writer, 20, 3);
  } else if ("float" in value) {
    writer.tag(2, WireType.Bit32).float(value.float);
    integer(writer, 20, 1);
  } else {
    for (const item of value) integer(writer, 8, item);
    integer(writer, 20, 7);
  }
}

function writeValueInfo(writer: BinaryWriter, name: string, { shape, dtype }: TensorType): void {
  text(writer, 1, name);
  message(writer, 2, (type) =>
    message(type, 1, (tensor) => {
      integer(tensor, 1, TYPE_NUMBERS[dtype]);
      message(tensor, 2, (dims) => {
        for (const dim of shape)
          message(dims, 1, (d) => (typeof dim === "number" ? integer(d, 1, dim) : text(d, 2, dim)));
      });
    }),
  );
}

interface NamedConstant {
  readonly name: string;
  readonly value: TensorType;
  readonly data: TensorData;
}

/** The nodes in topological order, and names for them, their constants and their inputs. */
class NamedGraph {
  readonly nodes: readonly Node[];
  readonly names = new Map<Node | Source, string>();
  readonly constants: NamedConstant[] = [];
  readonly fileConstants: { readonly name: string; readonly value: Value; readonly range: FileRange }[] = [];
  readonly inputs = new Map<string, TensorType>();

  readonly #leaves = new Map<string, TensorType>();
  /** Names of results that are outputs of the program. */
  readonly #public = new Map<Node, string[]>();
  readonly #fixed: NonNullable<SerializeOptions["fixed"]>;
  readonly #widensHalves: boolean;

  constructor(
    outputs: Readonly<Record<string, Value>>,
    { fixed = {}, widensHalves = false }: Pick<SerializeOptions, "fixed" | "widensHalves">,
  ) {
    this.#fixed = fixed;
    this.#widensHalves = widensHalves;
    this.nodes = sortNodes(Object.values(outputs));
    this.nodes.forEach((node, i) => {
      this.names.set(node, `${node.op}.${i}`);
    });
    for (const [name, { source }] of Object.entries(outputs)) {
      if (source.kind !== "output") continue;
      const own = this.#public.get(source.node) ?? [];
      own[source.index] ??= name;
      this.#public.set(source.node, own);
    }
  }

  /** The name of one of a node's results. */
  resultName(node: Node, index: number): string {
    return this.#public.get(node)?.[index] ?? `${this.names.get(node)}.${index}`;
  }

  valueName(value: Value): string {
    const { source, shape, dtype } = value;
    if (source.kind === "output") return this.resultName(source.node, source.index);
    if (source.kind === "constant" || source.kind === "file") return this.#constantName(value);
    const { name } = source;
    const known = this.#leaves.get(name);
    if (known === undefined) {
      this.#leaves.set(name, { shape, dtype });
      const data = this.#fixed[name]?.data;
      if (data === undefined) this.inputs.set(name, { shape, dtype });
      else this.#addConstant({ name, value, data });
    } else if (known.dtype !== dtype || known.shape.join() !== shape.join())
      throw new MosError("bad_config", `leaf ${name} is used with different shapes or types`);
    return name;
  }

  /** Where all the files are that constants lie in, some of them in folders below. */
  get folder(): string | undefined {
    const folders = new Set(this.fileConstants.map(({ range }) => range.folder));
    if (folders.size < 2) return [...folders][0];
    const [first = [], ...others] = [...folders].map((folder) => folder.split(/[\\/]/));
    const shared = first.findIndex((part, i) => others.some((other) => other[i] !== part));
    if (shared === 0)
      throw new MosError("bad_config", `constants on two drives: ${[...folders].join(" and ")}`);
    const above = (shared < 0 ? first : first.slice(0, shared)).join("/");
    return above === "" || /^[a-z]:$/i.test(above) ? `${above}/` : above; // "C:" alone is the current folder there
  }

  /** Whatever reads halves casts them to float32, which is then no change. */
  #addConstant({ name, value, data }: NamedConstant): void {
    const isWidened = this.#widensHalves && value.dtype === "float16";
    this.constants.push(
      isWidened
        ? { name, value: { ...value, dtype: "float32" }, data: Float32Array.from(data, float16Value) }
        : { name, value, data },
    );
  }

  #constantName(value: Value): string {
    const { source } = value;
    const known = this.names.get(source);
    if (known !== undefined) return known;
    const name = `constant.${this.constants.length + this.fileConstants.length}`;
    this.names.set(source, name);
    if (source.kind === "constant") this.#addConstant({ name, value, data: source.data });
    else if (source.kind === "file") this.fileConstants.push({ name, value, range: source.range });
    return name;
  }
}

/**
 * The ONNX bytes of the program that computes `outputs` (by name) from its leaves. Only what the outputs need is
 * written. Constants are part of the bytes, or external where the model would exceed protobuf's 2 GiB.
 *
 * @throws MosError `bad_config` where two leaves of one name differ in shape or type.
 * @example
 * const { model, inputs } = serialize({ y: matmul(leaf("x", ["n", 4]), leaf("w", [4, 2])) });
 */
export function serialize(
  outputs: Readonly<Record<string, Value>>,
  options: SerializeOptions = {},
): SerializedProgram {
  const { externalAbove = 1024, inlineLimit = 1.5 * 2 ** 30, externalName = "weights.bin" } = options;
  const { standardProducts = false, separateFiles = false } = options;
  const program = new NamedGraph(outputs, options);
  const writer = new BinaryWriter();
  integer(writer, 1, IR_VERSION);
  text(writer, 2, "mixture-of-shards");
  const external: ExternalData[] = [];
  message(writer, 7, (graph) => {
    const nodes = [...nameNodes(program, standardProducts), ...nameOutputs(program, outputs)];
    for (const node of nodes) message(graph, 1, (n) => writeNode(n, node));
    text(graph, 2, "program");
    const total = program.constants.reduce((bytes, { data }) => bytes + data.byteLength, 0);
    for (const item of program.constants) {
      const outside = total > inlineLimit && item.data.byteLength >= externalAbove;
      message(graph, 5, (tensor) =>
        writeConstant(tensor, item, outside ? { external, externalName, separateFiles } : undefined),
      );
    }
    const { folder } = program;
    for (const { name, value, range } of program.fileConstants)
      message(graph, 5, (tensor) => {
        writeTensorType(tensor, name, value);
        writeLocation(tensor, { ...range, file: nameBelow(folder, range) });
      });
    for (const [name, info] of program.inputs) message(graph, 11, (w) => writeValueInfo(w, name, info));
    for (const [name, value] of Object.entries(outputs))
      message(graph, 12, (w) => writeValueInfo(w, name, value));
  });
  const opset = program.nodes.reduce((latest, { op }) => Math.max(latest, LATER[op] ?? 0), OPSET);
  for (const [domain, version] of [
    ["", opset],
    ["com.microsoft", 1],
  ] as const)
    message(writer, 8, (set) => {
      text(set, 1, domain);
      integer(set, 2, version);
    });
  const { inputs, folder, fileConstants } = program;
  const files = [...new Set(fileConstants.map(({ range }) => nameBelow(folder, range)))];
  return { model: writer.finish(), inputs, external, folder, files };
}

/** The name of a file from a folder above it. */
const nameBelow = (above = "", { folder, file }: FileRange): string =>
  `${folder}/${file}`.slice(above.length).replace(/^[\\/]/, "");

/** A node with names in place of values. */
interface NamedNode extends Pick<Node, "op" | "domain" | "attributes"> {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

const nameNodes = (program: NamedGraph, standardProducts: boolean): readonly NamedNode[] =>
  program.nodes.flatMap((node) => {
    const name = program.names.get(node) ?? "";
    const inputs = node.inputs.map((input) => (input === undefined ? "" : program.valueName(input)));
    const named = { ...node, name, inputs, outputs: node.outputs.map((_, i) => program.resultName(node, i)) };
    return standardProducts && node.op === "FusedMatMul" ? expandProduct(named, node) : [named];
  });

/** Outputs that are no result, or one that has another output's name, get theirs by an Identity, which copies. */
const nameOutputs = (program: NamedGraph, outputs: Readonly<Record<string, Value>>): readonly NamedNode[] =>
  Object.entries(outputs).flatMap(([name, value]) => {
    const from = program.valueName(value);
    const copy = { name: `output.${name}`, op: "Identity", domain: "", attributes: {} };
    return from === name ? [] : [{ ...copy, inputs: [from], outputs: [name] }];
  });

/** FusedMatMul as Gemm where both operands are matrices, else as transposes, MatMul and Mul. */
function expandProduct(product: NamedNode, { inputs: operands }: Node): readonly NamedNode[] {
  const { name, attributes, inputs } = product;
  const ranks = operands.map((operand) => operand?.shape.length ?? 0);
  if (ranks.every((rank) => rank === 2)) return [{ ...product, op: "Gemm", domain: "" }];
  const nodes: NamedNode[] = [];
  const emit = (op: string, from: readonly string[], given: Node["attributes"] = {}): string => {
    const part = `${name}.${op}.${nodes.length}`;
    nodes.push({ name: part, op, domain: "", attributes: given, inputs: from, outputs: [part] });
    return part;
  };
  const factors = inputs.map((input, i) => {
    const perm = permutation(ranks[i] as number, {
      isTransposed: attributes[i === 0 ? "transA" : "transB"] === 1,
      isBatched: i === 1 && attributes["transBatchB"] === 1,
    });
    return perm.every((axis, at) => axis === at) ? input : emit("Transpose", [input], { perm });
  });
  const { alpha } = attributes;
  if (alpha === undefined)
    return [...nodes, { ...product, op: "MatMul", domain: "", attributes: {}, inputs: factors }];
  const scaled = [emit("MatMul", factors), emit("Constant", [], { value_float: alpha })];
  return [...nodes, { ...product, op: "Mul", domain: "", attributes: {}, inputs: scaled }];
}

/** Axes of a factor as MatMul takes it: FusedMatMul's `transBatch` means its first axis as the last but one. */
function permutation(
  rank: number,
  { isTransposed, isBatched }: { readonly isTransposed: boolean; readonly isBatched: boolean },
): number[] {
  const axes = [...Array(rank).keys()];
  const batched = isBatched ? [...axes.slice(1, -1), 0, rank - 1] : axes;
  return isTransposed
    ? [...batched.slice(0, -2), batched[rank - 1] as number, batched[rank - 2] as number]
    : batched;
}

function writeNode(writer: BinaryWriter, { name, op, domain, attributes, inputs, outputs }: NamedNode): void {
  for (const input of inputs) text(writer, 1, input);
  for (const output of outputs) text(writer, 2, output);
  text(writer, 3, name);
  text(writer, 4, op);
  for (const [key, value] of Object.entries(attributes))
    message(writer, 5, (a) => writeAttribute(a, key, value));
  if (domain !== "") text(writer, 7, domain);
}

/** Where constants go that are not in the model. */
interface Outside extends Required<Pick<SerializeOptions, "externalName" | "separateFiles">> {
  readonly external: ExternalData[];
}

function writeConstant(
  writer: BinaryWriter,
  { name, value, data }: NamedConstant,
  outside: Outside | undefined,
): void {
  writeTensorType(writer, name, value);
  const bytes = encodeData(data, value.dtype);
  if (outside === undefined) {
    writer.tag(9, WireType.LengthDelimited).bytes(bytes);
    return;
  }
  const { external, externalName, separateFiles } = outside;
  const last = separateFiles ? undefined : external.at(-1);
  const offset = last === undefined ? 0 : Math.ceil((last.offset + last.bytes.byteLength) / 4096) * 4096;
  const file = separateFiles ? `${externalName}.${external.length}` : externalName;
  external.push({ file, offset, bytes });
  writeLocation(writer, { file, offset, length: bytes.byteLength });
}

function writeTensorType(writer: BinaryWriter, name: string, { shape, dtype }: TensorType): void {
  for (const dim of shape) integer(writer, 1, dim as number);
  integer(writer, 2, TYPE_NUMBERS[dtype]);
  text(writer, 8, name);
}

/** Where the bytes of a tensor lie that are not in the model; the path is relative to its folder. */
function writeLocation(writer: BinaryWriter, { file, offset, length }: Omit<FileRange, "folder">): void {
  for (const [key, entry] of [
    ["location", file],
    ["offset", String(offset)],
    ["length", String(length)],
  ] as const)
    message(writer, 13, (pair) => {
      text(pair, 1, key);
      text(pair, 2, entry);
    });
  integer(writer, 14, 1);
}
