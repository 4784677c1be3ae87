import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command as Commander, CommanderError } from "commander";
import { METHOD_NAMES, type MethodName, methods } from "mixture-of-shards-core/adapters";
import {
  flag,
  MosError,
  omitUndefined,
  type Setting,
  type SettingInfo,
  setting,
  settingInfo,
} from "mixture-of-shards-core/common";
import { finetuneSettings } from "mixture-of-shards-core/training";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { defineCommand, formatFlag, group } from "./command.ts";
import { adapterInput, adapterOptions, unescaped } from "./common-options.ts";
import { asCalled, COMMANDS, createProgram, describeFailure, failureText, loadCommands } from "./program.ts";
import { SECTIONS } from "./sources.ts";
import { programName } from "./terminal.ts";
import { resumeCommand } from "./train-summary.ts";

const commands = await loadCommands();
const commandNamed = (name: string): Commander =>
  createProgram(commands).commands.find((candidate) => candidate.name() === name)!;

describe("a command out of settings", () => {
  const options = {
    ...group("Numbers", {
      steps: setting(z.int().min(1), { default: 8, help: "updates" }),
      rank: setting(z.int().min(1), { defaultText: "the method's", placeholder: "r", help: "rank" }),
    }),
    ...group("Others", {
      form: setting(z.enum(["plain", "chatml"]), { default: "plain", help: "form" }),
      stop: setting(z.array(z.string()).readonly(), { help: "may be repeated" }),
      packing: flag({ default: true, help: "one example in a row" }),
      out: setting(z.string(), { required: true, placeholder: "folder", help: "the folder" }),
    }),
  };
  let seen: unknown;
  const command = defineCommand({
    description: "Tries settings.",
    arguments: {
      file: setting(z.string(), { help: "a file" }),
      others: setting(z.array(z.string()).readonly(), { help: "more files" }),
    },
    options,
    conflicts: [["steps", "rank"]],
    run: async (values) => {
      seen = values;
    },
  });
  const program = (): Commander => {
    const made = createProgram(new Map());
    command
      .attach(made, "try")
      .exitOverride()
      .configureOutput({ writeErr: () => undefined });
    return made;
  };
  const run = async (...args: readonly string[]): Promise<unknown> => {
    await program().parseAsync(["try", ...args], { from: "user" });
    return seen;
  };
  const defaults = { steps: 8, form: "plain", packing: true, others: [], json: false, verbose: false };

  test("has values of the settings, checked, with defaults", async () => {
    expect(await run("--out", "a")).toEqual({ ...defaults, out: "a" });
    const args = [
      "--out",
      "a",
      "--no-packing",
      "--stop",
      "x",
      "--stop",
      "y",
      "--steps",
      "1_000",
      "in",
      "b",
      "c",
      "--json",
    ];
    expect(await run(...args)).toEqual({
      ...defaults,
      out: "a",
      packing: false,
      stop: ["x", "y"],
      steps: 1000,
      file: "in",
      others: ["b", "c"],
      json: true,
    });
    await expect(run("--out", "a", "--steps", "0")).rejects.toThrowError(
      /'--steps <n>' argument '0' is invalid\. Expected a whole number, 1 or more\./,
    );
    await expect(run("--out", "a", "--form", "x")).rejects.toThrowError(/Expected one of plain, chatml\./);
    await expect(run()).rejects.toThrowError("required option '--out <folder>' not specified");
    await expect(run("--out", "a", "--steps", "1", "--rank", "1")).rejects.toThrowError(
      "option '--steps <n>' cannot be used with option '--rank <r>'",
    );
  });

  test("shows groups, defaults and what decides them", () => {
    const help = program()
      .commands.find((one) => one.name() === "try")!
      .helpInformation();
    expect(help).toMatch(/^Usage: mos try \[options\] \[file\] \[others\.\.\.\]/);
    expect(help).toContain("\nNumbers:\n  --steps <n>");
    expect(help).toMatch(/updates \(default: 8\)/);
    expect(help).toMatch(/rank \(default: the method's\)/);
    expect(help).toMatch(/\n {2}--no-packing +one example in a row\n/);
    expect(help).toMatch(/\nGeneral:\n {2}--json[\s\S]*--verbose[\s\S]*-h, --help/);
  });
});

describe("a command whose options have other sources", () => {
  const options = group("All", {
    model: setting(z.string(), { required: true, placeholder: "model", help: "model" }),
    port: setting(z.int().min(0), { default: 8080, help: "port" }),
    keys: flag({ default: true, help: "let everyone in" }),
    apiKeys: setting(z.string(), { placeholder: "file", help: "keys" }),
    state: setting(z.string(), { help: "folder" }),
    databaseUrl: setting(z.string(), { help: "url" }),
    quiet: flag({ help: "print errors only" }),
  });
  let seen: unknown;
  const command = defineCommand({
    description: "Tries sources.",
    options,
    conflicts: [
      ["keys", "apiKeys"],
      ["state", "databaseUrl"],
    ],
    isConfigurable: true,
    harmless: ["port"],
    run: async (values) => {
      seen = values;
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "mos-sources-"));
  const file = join(folder, "mos.json");
  const run = async (...args: readonly string[]): Promise<unknown> => {
    await createProgram(new Map([["serve", command]])).parseAsync(["serve", ...args], { from: "user" });
    return seen;
  };
  const withFile = (serve: object, ...args: readonly string[]): Promise<unknown> => {
    writeFileSync(file, JSON.stringify({ serve }));
    return run("--config", file, ...args);
  };
  afterEach(() => vi.unstubAllEnvs());
  afterAll(() => rmSync(folder, { recursive: true }));

  test("takes each from the command line, the environment, the file, or its default", async () => {
    vi.stubEnv("MOS_PORT", "2");
    vi.stubEnv("MOS_STATE", "of the environment");
    const fields = { model: "of the file", port: 1, state: "of the file" };
    expect(await withFile(fields, "--port", "3")).toMatchObject({
      model: "of the file",
      port: 3,
      keys: true,
    });
    expect(await withFile(fields)).toMatchObject({ port: 2, state: "of the environment" });
    expect(await withFile(fields, "--port", "8080")).toMatchObject({ port: 8080 });
    vi.stubEnv("MOS_CONFIG", file);
    expect(await run("--model", "m")).toMatchObject({ model: "m", port: 2 });
  });

  test("an option puts out what excludes it in a later source, and both in one are refused", async () => {
    vi.stubEnv("MOS_MODEL", "m");
    vi.stubEnv("MOS_DATABASE_URL", "postgres://db/mos\n");
    expect(await run()).toMatchObject({ databaseUrl: "postgres://db/mos", state: undefined });
    expect(await run("--state", "s")).toMatchObject({ state: "s", databaseUrl: undefined });
    expect(await withFile({ state: "s" })).toMatchObject({ state: undefined });
    expect(await withFile({ keys: true, apiKeys: "k" })).toMatchObject({ keys: true, apiKeys: "k" });
    await expect(withFile({ keys: false, apiKeys: "k" })).rejects.toThrowError(
      /serve\.keys cannot be used with .*serve\.apiKeys/,
    );
    vi.stubEnv("MOS_STATE", "s");
    await expect(run()).rejects.toThrowError("MOS_STATE cannot be used with MOS_DATABASE_URL");
  });

  test("a file that is only found opens nothing, and is told whatever else is silent", async () => {
    const before = process.cwd();
    process.chdir(folder);
    const told = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    const found = async (serve: object, ...args: readonly string[]): Promise<unknown> => {
      writeFileSync("mos.config.json", JSON.stringify({ serve }));
      return run("--model", "m", ...args);
    };
    try {
      await expect(found({ port: 1, keys: false })).rejects.toThrowError(
        "mos.config.json: serve.keys: keys may be set only by a file named with --config; " +
          "pass --config mos.config.json, or set MOS_KEYS",
      );
      await expect(found({ keys: false }, "--no-keys")).rejects.toThrowError("keys may be set only");
      for (const name of ["model", "apiKeys", "state", "databaseUrl"])
        await expect(found({ [name]: "x" }), name).rejects.toThrowError(`${name} may be set only`);
      expect(await found({ keys: false }, "--config", "mos.config.json")).toMatchObject({ keys: false });
      vi.stubEnv("MOS_CONFIG", "mos.config.json");
      expect(await found({ keys: false })).toMatchObject({ keys: false });
      vi.unstubAllEnvs();
      expect(told).not.toHaveBeenCalled();
      for (const silent of ["--json", "--quiet"]) {
        expect(await found({ port: 1 }, silent)).toMatchObject({ port: 1 });
        expect(told, silent).toHaveBeenLastCalledWith("options from mos.config.json: port\n");
        told.mockClear();
      }
    } finally {
      process.chdir(before);
      rmSync(join(folder, "mos.config.json"));
      told.mockRestore();
    }
  });

  test("says what is missing, and where it may be given", async () => {
    await expect(run()).rejects.toThrowError(
      '--model <model> is required; pass it, set MOS_MODEL, or set "model" in "serve" of the file of --config',
    );
    await expect(run("--config", join(folder, "none.json"))).rejects.toThrowError("none.json: no such file");
    await expect(run("--modle", "m")).rejects.toThrowError("unknown option '--modle'");
  });
});

test.each(SECTIONS)("a file that is only found sets nothing of %s but numbers, sizes and choices", (name) => {
  const { configurable, harmless } = commands.get(name)!;
  const kinds = harmless.map((option) => [option, settingInfo(configurable?.[option]).kind]);
  expect(kinds.filter(([, kind]) => !/integer|number|bytes|choice/.test(String(kind)))).toEqual(
    name === "serve"
      ? [
          ["modelName", "text"],
          ["weightCache", "flag"],
          ["deterministic", "flag"],
        ]
      : [["modelName", "text"]],
  );
});

test("the commands that a configuration file has sections for are those that read it", () => {
  const configurable = [...commands].filter(([, { configurable }]) => configurable !== undefined);
  expect(configurable.map(([name]) => name)).toEqual(SECTIONS);
});

/** Texts that stand for no value of a number. */
function outside({ check, kind }: SettingInfo): readonly string[] {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = z.toJSONSchema(
    check,
  ) as z.core.JSONSchema.NumberSchema;
  const beyond = [
    exclusiveMinimum,
    exclusiveMaximum,
    (minimum ?? Number.NaN) - 1,
    (maximum ?? Number.NaN) + 1,
  ];
  const numbers = beyond.filter((bound) => bound !== undefined && Number.isFinite(bound)).map(String);
  return [
    "",
    "many",
    "NaN",
    "Infinity",
    "5e-4x",
    ...(kind === "number" ? [] : ["1e9999"]),
    ...(kind === "integer" ? ["2.5"] : []),
    ...numbers,
  ];
}

test.each([...commands])(
  "mos %s refuses numbers beyond the bounds of their settings, and names those",
  async (name, command) => {
    const program = createProgram(new Map([[name, command]]));
    for (const [option, setting] of Object.entries<Setting>(command.options)) {
      const info = settingInfo(setting);
      if (!["integer", "number", "bytes"].includes(info.kind)) continue;
      for (const value of outside(info)) {
        const args = [name, `${formatFlag(option, setting)}=${value}`];
        await expect(program.parseAsync(args, { from: "user" }), args.join(" ")).rejects.toThrowError(
          `argument '${value}' is invalid. Expected ${info.expectedText}.`,
        );
      }
    }
  },
);

test("mos train has an option for every setting of a run", () => {
  const { options } = commandNamed("train");
  const flags = options.map(({ long }) => long);
  for (const [name, setting] of Object.entries<Setting>(finetuneSettings))
    expect(flags, name).toContain(formatFlag(name, setting));
});

test("every setting of every method is an option, with the methods that have it and their defaults", () => {
  const settings: Readonly<Record<string, Setting>> = adapterOptions;
  for (const method of METHOD_NAMES)
    for (const [name, setting] of Object.entries<Setting>(methods[method].settings)) {
      if (name === "seed") continue;
      const { help, default: standard, defaultText = String(standard) } = settingInfo(setting);
      const option = settingInfo(settings[name]);
      expect(option.help, name).toContain(help);
      expect(option.defaultText, name).toContain(defaultText);
    }
  expect(settingInfo(settings["rank"]).defaultText).toBe(
    "8; 64 for pure-sharing, random-scaling; 256 for vera; 4 for prolora; 32 for lora-xs; 16 for uni-lora",
  );
  expect(settingInfo(settings["alpha"]).help).toMatch(/^all but vera and uni-lora: /);
  expect(settingInfo(settings["equivalentRank"]).help).toMatch(/^mos, subset-selection: /);
});

test("options become an adapter, and strangers to a method are refused", () => {
  const input = (method: MethodName, values: object = {}) =>
    adapterInput({ method, pairDissociation: true, ...values });
  expect(input("mos", { rank: 4 })).toEqual({ method: "mos", rank: 4 });
  expect(input("mos", { pairDissociation: false })).toEqual({ method: "mos", pairDissociation: false });
  expect(() => input("lora", { privateRank: 1 })).toThrowError(
    "--private-rank cannot be used with --method lora",
  );
  expect(() => input("lora", { pairDissociation: false })).toThrowError("--no-pair-dissociation");
});

test("the command that continues a run is the one that started it", () => {
  const args = ["train", "--data", "my data.jsonl", "--overwrite", "--steps", "5"];
  expect(resumeCommand(args)).toMatch(
    /^(npx mixture-of-shards|mos) train --data 'my data.jsonl' --steps 5 --resume$/,
  );
});

test("backslash escapes, once", () => {
  expect(unescaped("a\\nb\\tc\\\\n")).toBe("a\nb\tc\\n");
});

test("given leaves out what is undefined only", () => {
  expect(omitUndefined({ a: undefined, b: 0, c: false, d: "" })).toEqual({ b: 0, c: false, d: "" });
});

/** The files that a file loads before anything runs. */
function loadedBy(file: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!file.startsWith("./")) return seen;
  const source = readFileSync(new URL(file, import.meta.url), "utf8");
  for (const [, specifier = ""] of source.matchAll(/^(?:import|export) (?!type)[^;]*?from "([^"]+)"/gm))
    loadedBy(specifier, seen);
  return seen;
}

test("the list of commands is quick: it loads none of them, and of our packages only what is common", () => {
  const loaded = [...loadedBy("./main.ts")].filter((name) => !name.startsWith("./"));
  const builtIn = ["node:fs", "node:os", "node:path", "node:util"];
  expect(new Set(loaded)).toEqual(new Set([...builtIn, "commander", "mixture-of-shards-core/common"]));
  const program = createProgram(new Map());
  expect(program.commands.map((one) => one.name())).toEqual(Object.keys(COMMANDS));
});

const train = {
  command: "mos train",
  options: new Map([
    ["learningRate", "--learning-rate"],
    ["rank", "--rank"],
  ]),
};

test("an option that cannot be used is named as the user wrote it, with exit code 2", () => {
  const error = new MosError("bad_option", "learningRate: 50 is invalid (too big)");
  expect(describeFailure(error, train)).toEqual({
    code: "bad_option",
    message: "--learning-rate: 50 is invalid (too big)",
    exitCode: 2,
  });
});

test("words of other errors are left alone", () => {
  const error = new MosError("bad_data", "rank.jsonl:3: this is not JSON");
  expect(describeFailure(error, train)).toMatchObject({
    message: "rank.jsonl:3: this is not JSON",
    exitCode: 1,
  });
});

test("a usage error points to the help, or to the nearest option", () => {
  const unknown = new CommanderError(1, "x", "error: unknown option '--mdoel'\n(Did you mean --model?)");
  expect(describeFailure(unknown, train).message).toBe("unknown option '--mdoel'; did you mean --model?");
  const ofPeft = new CommanderError(1, "x", "error: unknown option '--num_epochs=3'\n(Did you mean --no-x?)");
  expect(describeFailure(ofPeft, train).message).toBe(
    "unknown option '--num_epochs'; did you mean --epochs?",
  );
  const missing = new CommanderError(1, "x", "error: required option '--model <model>' not specified");
  expect(describeFailure(missing, train)).toEqual({
    code: "bad_option",
    message: "required option '--model <model>' not specified; see mos train --help",
    exitCode: 2,
  });
  const foreign = new CommanderError(1, "x", "error: unknown command 'chat'");
  expect(describeFailure(foreign, { command: "mos", options: new Map() }).message).toBe(
    "unknown command 'chat'; did you mean generate --chat?",
  );
  const unquoted = "error: too many arguments for 'train'. Expected 0 arguments but got 4.";
  expect(describeFailure(new CommanderError(1, "x", unquoted), train).message).toMatch(
    /^too many arguments \(4 outside of options, 0 expected\); put a value with spaces in quotes.*; see mos train --help$/,
  );
});

test("a name that every object has is no command", async () => {
  expect((await loadCommands(["constructor", "toString"])).size).toBe(0);
});

test("stopping is exit code 130, wherever the signal was noticed", () => {
  expect(describeFailure(new MosError("cancelled", "stopped"), train).exitCode).toBe(130);
  expect(describeFailure(new DOMException("aborted", "AbortError"), train).exitCode).toBe(130);
});

test("what was not foreseen says so, and where to look", () => {
  const failure = describeFailure(new TypeError("x is not a function"), train);
  expect(failure).toMatchObject({ code: "unexpected", exitCode: 1 });
  expect(failure.message).toBe(
    "unexpected error: x is not a function; run again with --verbose for a stack trace",
  );
});

test("the stack is shown on request only, causes included", () => {
  const error = new MosError("storage", "the disk is full", { cause: new Error("ENOSPC") });
  const failure = describeFailure(error, train);
  expect(failureText(failure, { error, json: false, verbose: false })).toBe("mos: the disk is full\n");
  expect(failureText(failure, { error, json: false, verbose: true })).toMatch(
    /at .*program\.test\.ts[\s\S]*caused by Error: ENOSPC/,
  );
  expect(failureText(failure, { error, json: true, verbose: false })).toBe(
    '{"error":{"code":"storage","message":"the disk is full"}}\n',
  );
});

test("a name out of a file cannot write to the terminal what it likes", () => {
  const error = new MosError("bad_adapter", "tensor \u001b[2Jq\u0007 is not part\nof such an adapter");
  const text = failureText(describeFailure(error, train), { error, json: false, verbose: false });
  expect(text).toBe("mos: tensor \\u001b[2Jq\\u0007 is not part\\nof such an adapter\n");
});

test("the program is named as it was called, in help and in messages of lower layers", () => {
  const npm = { npm_command: "exec" };
  expect(programName("/usr/local/bin/mos", {})).toBe("mos");
  expect(programName("/usr/local/bin/mixture-of-shards", {})).toBe("mixture-of-shards");
  for (const script of [
    "/home/me/.npm/_npx/54e4/node_modules/.bin/mixture-of-shards",
    "/app/node_modules/.bin/mos",
  ])
    expect(programName(script, npm)).toBe("npx mixture-of-shards");
  expect(programName("/clone/dist/cli/main.js", { npm_command: "run" })).toBe("npx mixture-of-shards");
  expect(programName(join(process.cwd(), "packages/mos/dist/cli/main.js"), {})).toBe(
    "node packages/mos/dist/cli/main.js",
  );
  const message =
    "convert the folder with mos import; --method mos is another; mos keys list shows ./mos serve";
  expect(asCalled("in parallel; mos\n    worker adds more", "./mos")).toBe(
    "in parallel; ./mos\n    worker adds more",
  );
  expect(asCalled(message, "npx mixture-of-shards")).toBe(
    "convert the folder with npx mixture-of-shards import; --method mos is another; npx mixture-of-shards keys list shows ./mos serve",
  );
});

test.each([
  ["train", ["--model", "--data", "--epochs", "--batch-size", "--learning-rate", "--out"]],
  ["generate", ["--model", "--adapter", "--prompt", "--chat", "--max-tokens"]],
  ["serve", ["--model", "--adapters", "--host", "--port", "--api-keys"]],
  ["eval", ["--model", "--adapter", "--tasks", "--limit", "--out"]],
])("the help of %s begins with the options that most users need", (name, wanted) => {
  const help = commandNamed(name).helpInformation();
  const [, first = "", rest = ""] = /\n\nMost used:\n(.*?)\n\n(.*)/s.exec(help) ?? [];
  expect(help.indexOf("\n\nMost used:")).toBe(help.search(/\n\n[A-Z][A-Za-z ]+:\n/));
  for (const option of wanted) {
    expect(first).toMatch(new RegExp(`^  ${option} `, "m"));
    expect(rest).not.toMatch(new RegExp(`^  ${option} `, "m"));
  }
});
