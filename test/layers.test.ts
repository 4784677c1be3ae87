import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

/** Rooms from the ground up. A room may import only rooms on lower floors, and only by its #alias. */
const FLOORS = [
  ["core"],
  ["graph", "storage", "charts"],
  ["runtime", "nn", "text", "hub", "sandbox", "formats"],
  ["models", "adapters", "data"],
  ["training", "generation", "exchange"],
  ["inference"],
  ["evaluation"],
  ["recipes"],
  ["experiments", "server"],
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
