import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { expect, test } from "vitest";

interface Border {
  /** Packages of this repository that it depends on. */
  readonly imports: readonly string[];
  /** Its modules from the bottom up. A module imports only from layers below its own, and only by its #alias. */
  readonly layers?: readonly (readonly string[])[];
}

/** The packages: each may import the entry points of those that it lists, which stand above it here. */
const PACKAGES: Readonly<Record<string, Border>> = {
  grammar: {
    imports: [],
    layers: [["grammar"], ["automaton"], ["matcher", "syntax"], ["json-schema"], ["compiler"]],
  },
  graph: { imports: [] },
  sandbox: { imports: [] },
  core: {
    imports: ["grammar", "graph", "sandbox"],
    layers: [
      ["platform"],
      ["common"],
      ["process"],
      ["files"],
      ["text", "hub"],
      ["models"],
      ["adapters", "data"],
      ["inference"],
      ["graders"],
      ["training", "convert"],
      ["web", "learning"],
    ],
  },
  studio: { imports: [], layers: [["core"], ["api"], ["ui", "chart"], ["views"], ["shell"]] },
  server: { imports: ["grammar", "core"] },
  mos: { imports: ["grammar", "graph", "core", "server"] },
  lab: { imports: ["core", "mos"], layers: [["evaluation"], ["reproduce"], ["commands"]] },
  service: {
    imports: ["core", "mos"],
    layers: [["database", "objects"], ["store"], ["worker", "webhooks"], ["api"]],
  },
};

/** Where graph and core may import Node's own modules: their idea is Node's. The others use #platform. */
const NODE_PLACES = [
  "packages/graph/src/runtime/session-node.ts",
  "packages/core/src/files/parquet-decode.ts",
  "packages/core/src/hub/",
  "packages/core/src/platform/node/",
  "packages/core/src/process/",
];

/** What only a page has: its volumes, and where the runtime of a worker comes from. */
const OF_PAGES = ["#platform/browser", "mixture-of-shards-graph/web"];

interface Manifest {
  readonly name: string;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const NAMES = Object.keys(PACKAGES);
const manifests = new Map(
  NAMES.map((name) => [name, JSON.parse(readFileSync(`packages/${name}/package.json`, "utf8")) as Manifest]),
);
const fullName = (name: string): string => manifests.get(name)!.name;

const sources = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => /\.tsx?$/.test(file))
    .map((file) => `${folder}/${file}`);

const listImports = (file: string): readonly string[] =>
  [...readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, spec]) => spec!);

/** Files of a package with what they import that this refuses. */
const findWrong = (name: string, isWrong: (spec: string, file: string) => boolean): readonly string[] =>
  sources(`packages/${name}/src`).flatMap((file) =>
    listImports(file)
      .filter((spec) => isWrong(spec, file))
      .map((spec) => `${file} -> ${spec}`),
  );

test("packages depend on those below them only, and import their entry points", () => {
  for (const [at, name] of NAMES.entries()) {
    const { imports } = PACKAGES[name]!;
    expect(NAMES.slice(0, at), name).toEqual(expect.arrayContaining([...imports]));
    const { dependencies = {}, peerDependencies = {} } = manifests.get(name)!;
    const ours = Object.keys({ ...dependencies, ...peerDependencies }).filter((other) =>
      other.startsWith("mixture-of-shards"),
    );
    expect(ours.toSorted(), name).toEqual(imports.map(fullName).toSorted());
    const entryPoints = imports.flatMap((other) =>
      Object.keys(manifests.get(other)!.exports ?? {}).map((path) => posix.join(fullName(other), path)),
    );
    const wrong = findWrong(name, (spec, file) => {
      if (spec.startsWith("mixture-of-shards"))
        return !(entryPoints.includes(spec) || (file.endsWith(".test.ts") && spec === fullName(name)));
      const target = posix.join(posix.dirname(file), spec);
      const isInside = target.startsWith(`packages/${name}/src/`);
      return spec.startsWith(".") && !isInside && !(file.endsWith(".test.ts") && /(^|\/)test\//.test(target));
    });
    expect(wrong).toEqual([]);
  }
});

test("modules import downwards only", () => {
  for (const [name, { layers = [] }] of Object.entries(PACKAGES)) {
    const findLayer = (module: string): number => layers.findIndex((modules) => modules.includes(module));
    const moduleOf = (file: string): string => file.split("/")[3]!;
    if (name === "core")
      expect(sources("packages/core/src").filter((file) => findLayer(moduleOf(file)) < 0)).toEqual([
        "packages/core/src/index.ts",
      ]);
    const wrong = findWrong(name, (spec, file) => {
      const own = findLayer(moduleOf(file));
      if (own < 0) return false; // wires modules together
      if (OF_PAGES.includes(spec)) return moduleOf(file) !== "web";
      if (spec.startsWith("#")) {
        const layer = findLayer(spec.slice(1));
        return layer < 0 || layer >= own;
      }
      const target = posix.join(posix.dirname(file), spec);
      const isInside = target.startsWith(`packages/${name}/src/${moduleOf(file)}/`);
      return spec.startsWith(".") && !isInside && !file.endsWith(".test.ts");
    });
    expect(wrong).toEqual([]);
  }
});

test("Node's modules, and ONNX Runtime, are imported in few places of what runs in pages", () => {
  const files = ["graph", "core"]
    .flatMap((name) => sources(`packages/${name}/src`))
    .filter((file) => !file.endsWith(".test.ts"));
  const importing = (pattern: RegExp) =>
    files.filter((file) => listImports(file).some((spec) => pattern.test(spec)));
  const node = importing(/^node:/);
  expect(node.filter((file) => !NODE_PLACES.some((place) => file.startsWith(place)))).toEqual([]);
  expect(NODE_PLACES.filter((place) => !node.some((file) => file.startsWith(place)))).toEqual([]);
  const runtime = importing(/^onnxruntime/);
  expect(runtime.filter((file) => !file.startsWith("packages/graph/src/runtime/"))).toEqual([]);
});
