import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { METHOD_NAMES, methods } from "#adapters";
import { parseSettings } from "#core";
import { CHAT_FORMATS, RULES, TASK_NAMES } from "#evaluation";
import { DEFAULT_SHARD_SIZE, FILE_DTYPES, IMPORT_SOURCES } from "#exchange";
import { LINEAR_NAMES } from "#nn";
import { EXPORT_FORMATS, finetuneSettings } from "#recipes";
import { DEVICES } from "#runtime";
import { adapterInput, flagOf } from "./adapter-input.ts";
import { LINEAR_TYPES, TASK_RULES, TASKS } from "./command-options.ts";
import { createProgram } from "./program.ts";
import { resumeCommand } from "./train.ts";

const commandNamed = (name: string): Command => {
  const command = createProgram().commands.find((candidate) => candidate.name() === name);
  if (command === undefined) throw new Error(`there is no command ${name}`);
  return command;
};

test("mos train has an option with the same default for every setting of a run", () => {
  const shown = commandNamed("train").opts();
  const {
    steps: _steps,
    system: _system,
    examples: _examples,
    ...defaults
  } = parseSettings(finetuneSettings, {});
  expect(shown).toMatchObject(defaults);
  const flags = commandNamed("train").options.map(({ long }) => long);
  for (const name of Object.keys(finetuneSettings))
    expect(flags, name).toContain(name === "packing" ? "--no-packing" : flagOf(name));
});

test("the adapter's defaults in the help are those of the methods", () => {
  const { options } = commandNamed("params");
  const mos = methods.mos.schema.parse({ method: "mos" });
  const lora = methods.lora.schema.parse({ method: "lora" });
  expect(lora).toEqual(expect.objectContaining({ rank: mos.rank, alpha: mos.alpha, dropout: mos.dropout }));
  for (const name of [
    "rank",
    "equivalentRank",
    "shardsPerVector",
    "privateRank",
    "alpha",
    "dropout",
  ] as const) {
    const option = options.find((candidate) => candidate.attributeName() === name);
    expect(option?.description).toContain(`(default: ${mos[name]})`);
  }
  expect(mos.targets).toEqual(LINEAR_NAMES);
  const textOf = (name: string) => options.find((one) => one.attributeName() === name)?.description;
  const { rank, unsharedRank, chunks } = methods.prolora.schema.parse({ method: "prolora" });
  expect(textOf("unsharedRank")).toContain(`(default: ${unsharedRank})`);
  expect(textOf("chunks")).toContain(`(default: ${chunks})`);
  const scaled = methods["random-scaling"].schema.parse({ method: "random-scaling" });
  expect(textOf("scaleMean")).toContain(`(default: ${scaled.scaleMean})`);
  expect(textOf("scaleDeviation")).toContain(`(default: ${scaled.scaleDeviation})`);
  expect(textOf("rank")).toContain(`layers share (${scaled.rank})`);
  expect(methods["pure-sharing"].schema.parse({ method: "pure-sharing" }).rank).toBe(scaled.rank);
  expect(textOf("rank")).toContain(`for vera ${methods.vera.schema.parse({ method: "vera" }).rank}, `);
  expect(textOf("rank")).toContain(`for prolora ${rank}`);
  for (const method of ["subset-selection", "tied-lora"] as const)
    expect(methods[method].schema.parse({ method }).rank).toBe(mos.rank);
});

test("the names that help lists by itself are those of the rooms below", () => {
  expect(LINEAR_TYPES).toEqual(LINEAR_NAMES);
  const optionOf = (command: string, flag: string) =>
    commandNamed(command).options.find(({ long }) => long === flag);
  const choices = (command: string, flag: string) => optionOf(command, flag)?.argChoices;
  expect(choices("train", "--device")).toEqual(DEVICES);
  const method = optionOf("train", "--method");
  for (const name of METHOD_NAMES) expect(method?.description).toContain(name);
  expect(TASKS).toEqual(TASK_NAMES);
  expect(TASK_RULES).toEqual(RULES);
  expect(choices("eval", "--chat-format")).toEqual(CHAT_FORMATS);
  expect(choices("reproduce", "--benchmark-format")).toEqual(CHAT_FORMATS);
  expect(choices("export", "--format")).toEqual(EXPORT_FORMATS);
  expect(choices("export", "--dtype")).toEqual(FILE_DTYPES);
  expect(choices("merge", "--dtype")).toEqual(FILE_DTYPES);
  expect(choices("import", "--from")).toEqual(IMPORT_SOURCES);
  expect(optionOf("merge", "--shard-size")?.defaultValue).toBe(DEFAULT_SHARD_SIZE);
});

test("options become an adapter, and strangers to a method are refused", () => {
  expect(adapterInput({ method: "mos", pairDissociation: true, rank: 4 })).toEqual({
    method: "mos",
    rank: 4,
  });
  expect(adapterInput({ method: "mos", pairDissociation: false })).toEqual({
    method: "mos",
    pairDissociation: false,
  });
  expect(() => adapterInput({ method: "lora", pairDissociation: true, privateRank: 1 })).toThrowError(
    "--private-rank does not go with --method lora",
  );
  expect(() => adapterInput({ method: "lora", pairDissociation: false })).toThrowError(
    "--no-pair-dissociation",
  );
  expect(() => adapterInput({ method: "moss", pairDissociation: true })).toThrowError(
    "--method moss is not known",
  );
});

test("the command that continues a run is the one that started it", () => {
  const args = ["train", "--data", "my data.jsonl", "--overwrite", "--steps", "5"];
  expect(resumeCommand(args)).toMatch(/mos train --data 'my data.jsonl' --steps 5 --resume$/);
});

/** The files that a file loads before anything runs. */
function loadedBy(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!file.startsWith("./")) return seen;
  const text = readFileSync(new URL(file, import.meta.url), "utf8");
  for (const [, specifier = ""] of text.matchAll(/^(?:import|export) (?!type)[^;]*?from "([^"]+)"/gm))
    loadedBy(specifier, seen);
  return seen;
}

test("help is quick: it loads no room but core", () => {
  const loaded = [...loadedBy("./main.ts"), ...loadedBy("./program.ts")].filter(
    (name) => !name.startsWith("./"),
  );
  expect(new Set(loaded)).toEqual(new Set(["node:fs", "commander", "#core"]));
});
