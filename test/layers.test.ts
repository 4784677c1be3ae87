import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { expect, test } from "vitest";

/** Modules from the bottom up. A module imports only from layers below its own, and only by its #alias. */
const LAYERS = [
  ["platform"],
  ["core"],
  ["process"],
  ["files"],
  ["graph", "text", "hub", "sandbox"],
  ["models"],
  ["adapters", "data"],
  ["inference"],
  ["graders"],
  ["training", "convert"],
  ["server", "web"],
  ["cli"],
];

/** Where the modules up to training may import Node's own: their idea is Node's. The others use #platform. */
const NODE_PLACES = [
  "src/platform/node/",
  "src/process/",
  "src/files/parquet-decode.ts",
  "src/graph/runtime/session-node.ts",
  "src/hub/",
  "src/sandbox/",
];

/** Modules of the packages, in the same way. A file outside of them wires them together. */
const PACKAGE_LAYERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  grammar: [["grammar"], ["automaton"], ["matcher", "syntax"], ["json-schema"], ["compiler"]],
  lab: [["evaluation"], ["reproduce"], ["commands"]],
  service: [["database", "objects"], ["store"], ["worker", "webhooks"], ["api"]],
  studio: [["core"], ["api"], ["ui", "chart"], ["views"], ["shell"]],
};

const entryPoints: readonly string[] = Object.keys(JSON.parse(readFileSync("package.json", "utf8")).exports);

const sources = (folder: string, pattern: RegExp): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => pattern.test(file))
    .map((file) => `${folder}/${file}`);

const listImports = (file: string): readonly string[] =>
  [...readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, spec]) => spec!);

const findLayer = (layers: readonly (readonly string[])[], module: string): number =>
  layers.findIndex((modules) => modules.includes(module));

/** Whether a file of a module may import this: a module of a lower layer, or a file of its own module. */
function isAllowed(file: string, { module, spec }: { module: string; spec: string }): boolean {
  if (spec.startsWith("onnxruntime")) return file.startsWith("src/graph/runtime/");
  // what only a browser has: its volumes, and where the runtime of a worker comes from
  if (spec === "#platform/browser" || spec === "#session-web") return module === "web";
  if (spec === "#session") return module === "graph";
  if (spec.startsWith("#")) {
    const layer = findLayer(LAYERS, spec.slice(1));
    return layer >= 0 && layer < findLayer(LAYERS, module);
  }
  if (!spec.startsWith(".")) return true;
  const target = posix.join(posix.dirname(file), spec);
  // what tests share is in test/
  return target.startsWith(`src/${module}/`) || (file.endsWith(".test.ts") && target.startsWith("test/"));
}

test("modules import downwards only", () => {
  const files = sources("src", /^[^/]+\/.*\.ts$/);
  const findModule = (file: string): string => file.split("/")[1]!;
  expect(files.filter((file) => findLayer(LAYERS, findModule(file)) < 0)).toEqual([]);
  const wrong = files.flatMap((file) =>
    listImports(file)
      .filter((spec) => !isAllowed(file, { module: findModule(file), spec }))
      .map((spec) => `${file} -> ${spec}`),
  );
  expect(wrong).toEqual([]);
});

test("Node's modules are imported in few places below the server", () => {
  const below = LAYERS.slice(0, findLayer(LAYERS, "server")).flat();
  const files = below.flatMap((module) => sources(`src/${module}`, /(?<!\.test)\.ts$/));
  const importsNode = files.filter((file) => listImports(file).some((spec) => spec.startsWith("node:")));
  const inPlace = (file: string, place: string): boolean => file.startsWith(place);
  expect(importsNode.filter((file) => !NODE_PLACES.some((place) => inPlace(file, place)))).toEqual([]);
  expect(NODE_PLACES.filter((place) => !importsNode.some((file) => inPlace(file, place)))).toEqual([]);
});

test("packages use entry points only, and their modules import downwards", () => {
  const wrong = sources("packages", /^[^/]+\/src\/.*\.tsx?$/).flatMap((file) => {
    const [, name = "", , module = ""] = file.split("/");
    const layers = PACKAGE_LAYERS[name];
    if (layers === undefined) return [`${name} is not in the table of packages`];
    const own = findLayer(layers, module);
    const isWrong = (spec: string): boolean => {
      const layer = findLayer(layers, spec.slice(1));
      if (spec.startsWith("#")) return layer < 0 || (own >= 0 && layer >= own);
      if (spec.startsWith(".")) {
        const target = posix.join(posix.dirname(file), spec);
        const isTest = file.endsWith(".test.ts") && /^(packages\/[^/]+\/)?test\//.test(target);
        return !isTest && own >= 0 && !target.startsWith(`packages/${name}/src/${module}/`);
      }
      const entryPoint = /^mixture-of-shards(\/.*)?$/.exec(spec);
      return entryPoint !== null && !entryPoints.includes(`.${entryPoint[1] ?? ""}`);
    };
    return listImports(file)
      .filter(isWrong)
      .map((spec) => `${file} -> ${spec}`);
  });
  expect(wrong).toEqual([]);
});
