import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { expect, test } from "vitest";

/** Rooms from the ground up. A room may import only rooms on lower floors, and only by its #alias. */
const FLOORS = [
  ["core"],
  ["graph", "storage"],
  ["runtime", "nn", "text", "hub", "sandbox", "formats"],
  ["models", "adapters", "data"],
  ["training", "inference", "exchange"],
  ["evaluation", "server"],
  ["recipes"],
  ["cli"],
];
const floorOf = (room: string) => FLOORS.findIndex((rooms) => rooms.includes(room));

const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter(
  (f) => f.endsWith(".ts") && f.includes("/"),
);

test.each(files)("%s imports downwards only", (file) => {
  const room = file.split("/")[0]!;
  expect(floorOf(room), `${room} is not in the table of floors`).toBeGreaterThanOrEqual(0);
  const text = readFileSync(`src/${file}`, "utf8");
  for (const [, spec] of text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    if (spec!.startsWith("#"))
      expect(floorOf(spec!.slice(1)), `${file} -> ${spec}`).toBeLessThan(floorOf(room));
    // what tests share is in test/
    const near = file.endsWith(".test.ts") ? [room, "test"] : [room];
    if (spec!.startsWith(".."))
      expect(near, `${file} -> ${spec}`).toContain(
        new URL(spec!, `file:///src/${file}`).pathname.replace("/src/", "/").split("/")[1],
      );
    if (spec!.startsWith("onnxruntime")) expect(room, `${file} imports the runtime`).toBe("runtime");
  }
});

/** Rooms in which files still import each other in a circle. */
const ROOMS_WITH_CIRCLES: readonly string[] = [];

const importsOf = (file: string): readonly string[] =>
  [...readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"(\.[^"]+)"/g)].map(([, spec]) =>
    posix.join(posix.dirname(file), spec!),
  );

/** The first circle of imports, types included, that a walk from these files meets; undefined where there is none. */
function circleAmong(sources: readonly string[]): readonly string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file) || !sources.includes(file)) return undefined;
    for (const imported of importsOf(file)) {
      const circle = visit(imported, [...path, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of sources) {
    const circle = visit(file, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

// a circle between rooms would break the direction of the floors already
test.each(FLOORS.flat())("no files of %s import each other in a circle", (room) => {
  const circle = circleAmong(
    files
      .filter((file) => file.startsWith(`${room}/`) && !file.endsWith(".test.ts"))
      .map((file) => `src/${file}`),
  );
  if (!ROOMS_WITH_CIRCLES.includes(room)) expect(circle?.join(" → ")).toBeUndefined();
});

const packageFiles = readdirSync("packages", { recursive: true, encoding: "utf8" })
  .filter((file) => /^[^/]+\/src\/.*\.ts$/.test(file))
  .map((file) => `packages/${file}`);
const doors: readonly string[] = Object.keys(JSON.parse(readFileSync("package.json", "utf8")).exports);

/** Rooms of packages, as those of this one. What is not in a room wires them together. */
const PACKAGE_FLOORS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  reproduce: [],
  service: [["database", "objects"], ["jobs"], ["worker", "signals"], ["api"]],
};

test.each(packageFiles)("%s uses public doors only", (file) => {
  const [, name = "", , room = ""] = file.split("/");
  const floors = PACKAGE_FLOORS[name];
  const floorIn = (other: string): number => floors?.findIndex((rooms) => rooms.includes(other)) ?? -1;
  expect(floors, `${name} is not in the table of packages`).toBeDefined();
  for (const [, spec] of readFileSync(file, "utf8").matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)) {
    expect(spec, file).not.toMatch(/^\.\./);
    if (spec!.startsWith("#")) {
      expect(floorIn(spec!.slice(1)), `${file} -> ${spec}`).toBeGreaterThanOrEqual(0);
      if (floorIn(room) >= 0)
        expect(floorIn(spec!.slice(1)), `${file} -> ${spec}`).toBeLessThan(floorIn(room));
    }
    const [, door] = /^mixture-of-shards(\/.*)?$/.exec(spec!) ?? [];
    if (spec!.startsWith("mixture-of-shards"))
      expect(doors, `${file} -> ${spec}`).toContain(`.${door ?? ""}`);
  }
});

test("no files of a package import each other in a circle", () => {
  const circle = circleAmong(packageFiles.filter((file) => !file.endsWith(".test.ts")));
  expect(circle?.join(" → ")).toBeUndefined();
});
