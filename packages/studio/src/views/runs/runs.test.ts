import { expect, test } from "vitest";
import type { Run } from "#api";
import { compareSettings, countStatuses, distinctNames, durationOf, filterRuns } from "./run.ts";

const runOf = (more: Partial<Run> = {}): Run => ({
  ...{ id: "run-1", object: "run", kind: "folder", name: "support", status: "succeeded", created_at: 100 },
  ...{ finished_at: 160, model: "tiny-english", method: "mos", tenant: null, step: 5, total_steps: 5 },
  ...{ loss: 2, validation_loss: 3, best_validation_loss: 3, best_step: 5, sparkline: [3, 2], settings: {} },
  ...{ trainable_parameters: 100, fine_tuned_model: null, error: null, outcome: null },
  ...more,
});

test("words of a filter stand anywhere, in any order and case, and a status has to be the same", () => {
  const runs = [
    runOf({ id: "a", name: "Support v2", tenant: "acme" }),
    runOf({ id: "b", name: "support v3", method: "lora", status: "failed" }),
  ];
  const ids = (text: string, status = "") => filterRuns(runs, { text, status }).map(({ id }) => id);
  expect(ids("")).toEqual(["a", "b"]);
  expect(ids(" V2  SUPPORT ")).toEqual(["a"]);
  expect(ids("lora tiny")).toEqual(["b"]);
  expect(ids("support", "failed")).toEqual(["b"]);
  expect(ids("none")).toEqual([]);
  expect(countStatuses(runs)).toEqual([
    ["succeeded", 1],
    ["failed", 1],
  ]);
});

test("settings stand side by side, and say whether they differ", () => {
  const rows = compareSettings([
    runOf({ settings: { rank: 6, targets: ["q", "v"], seed: 0, lonely: true } }),
    runOf({ settings: { rank: 8, targets: ["q", "v"], seed: 0, constructor: "x" } }),
  ]);
  const byName = new Map(rows.map((row) => [row.name, row]));
  expect(byName.get("Rank")).toEqual({ name: "Rank", values: ["6", "8"], isDifferent: true });
  expect(byName.get("Targets")).toMatchObject({ values: ["q, v", "q, v"], isDifferent: false });
  expect(byName.get("Lonely")?.values).toEqual(["true", "–"]);
  expect(byName.get("Constructor")?.values).toEqual(["–", "x"]);
  expect(byName.get("Model")?.isDifferent).toBe(false);
});

test("runs of one name are told apart by their ids", () => {
  const named = (id: string, name: string) => ({ id, name });
  expect(
    distinctNames([named("ftjob-abcdefgh", "a"), named("ftjob-ijklmnop", "a"), named("x", "b")]),
  ).toEqual(["a (cdefgh)", "a (klmnop)", "b"]);
});

test("a run takes from its start to its end, or to now", () => {
  expect(durationOf(runOf(), 500)).toBe(60);
  expect(durationOf(runOf({ status: "running", finished_at: null }), 500)).toBe(400);
  expect(durationOf(runOf({ status: "queued", finished_at: null }), 500)).toBeNull();
});
