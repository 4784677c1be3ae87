import { expect, test } from "vitest";
import { findCommands } from "./palette.ts";

const commands = ["Runs", "New run", "Compare", "Theme: dark"].map((title) => ({
  id: title,
  title,
  run: () => {},
}));
const find = (search: string) => findCommands(commands, search).map(({ title }) => title);

test("commands are found by their letters, the closest first", () => {
  expect(find("")).toEqual(["Runs", "New run", "Compare", "Theme: dark"]);
  expect(find("run")).toEqual(["Runs", "New run"]);
  expect(find("NR")).toEqual(["New run"]);
  expect(find("cmp")).toEqual(["Compare"]);
  expect(find("dark theme")).toEqual([]);
});
