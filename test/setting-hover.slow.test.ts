// What an editor shows of a setting, also in a call: help, values and default, as the row of its table has them.
import { resolve } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";

test("hovering a setting in a call shows its help, values and default", () => {
  const path = resolve("test/hovered.ts");
  const source = `import { finetune, openEngine } from "../src/index.ts";
finetune({ settings: { batchSize: 4, learningRate: 1e-3, chatTemplateKwargs: {} }, adapter: { method: "mos", rank: 8, privateRank: 1 } });
openEngine({ maxBatch: 4 });`;
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile("tsconfig.json", ts.sys.readFile).config,
    ts.sys,
    resolve("."),
  );
  const read = (name: string) => (name === path ? source : ts.sys.readFile(name));
  const service = ts.createLanguageService({
    directoryExists: ts.sys.directoryExists,
    getDirectories: ts.sys.getDirectories,
    realpath: ts.sys.realpath ?? ((name: string) => name),
    readFile: read,
    fileExists: (name) => name === path || ts.sys.fileExists(name),
    getCompilationSettings: () => options,
    getCurrentDirectory: () => resolve("."),
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    getScriptFileNames: () => [path],
    getScriptVersion: () => "1",
    getScriptSnapshot: (name) => {
      const text = read(name);
      return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
    },
  });
  const hover = (name: string): string =>
    ts.displayPartsToString(service.getQuickInfoAtPosition(path, source.indexOf(name))?.documentation);
  expect(hover("batchSize")).toMatch(/^Rows per batch;.*A whole number from 1 to 4096; default .*\.$/);
  expect(hover("learningRate")).toMatch(/^Peak learning rate\..*; default .*\.$/);
  expect(hover("chatTemplateKwargs")).toMatch(/^\S.+\.$/);
  expect(hover("rank")).toMatch(/^Rank of each layer's update\. .*; default 8\.$/);
  expect(hover("privateRank")).toMatch(/^Ranks private to each layer.*; default 1\.$/);
  expect(hover("maxBatch")).toMatch(/^Maximum number of concurrent requests\..*; default 16\.$/);
}, 60_000);
