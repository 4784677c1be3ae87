// Calls from plain JavaScript: what no compiler has checked is refused with the nearest name.

import {
  exportAdapter,
  finetune,
  generate,
  importAdapter,
  inspectModel,
  loadModel,
  mergeAdapter,
  openApp,
  openEngine,
  previewRun,
  readDataset,
  serve,
} from "mixture-of-shards";
import { expect, test } from "vitest";

const model = "assets/tiny-english";
const run = { model, data: "assets/quickstart/train.jsonl", out: "nowhere/x", adapter: { method: "mos" } };
const exchange = { model, adapter: "adapters/x", out: "nowhere/x" };
const first = (events: AsyncIterable<unknown>): Promise<unknown> => events[Symbol.asyncIterator]().next();
/** Options as JavaScript has them: of any type. */
const js = (options?: unknown): never => options as never;

const trained = (options?: unknown) => first(finetune(js(options)));
const answered = (options: unknown) => first(generate(model, "Hi", js(options)));

test.each([
  [
    "no options",
    trained,
    undefined,
    "finetune: options are missing; give an object of its options: model, data",
  ],
  [
    "a misspelt model",
    trained,
    { ...run, model: undefined, modle: model },
    "unknown option modle; did you mean model?",
  ],
  [
    "no model",
    trained,
    { ...run, model: undefined },
    "finetune: model is missing; give a string or an object",
  ],
  [
    "a setting beside the settings",
    trained,
    { ...run, steps: 3 },
    "finetune: steps belongs in settings; write settings: { steps: … }",
  ],
  [
    "a setting of the adapter beside it",
    trained,
    { ...run, privateRank: 3 },
    "finetune: privateRank belongs in adapter; write adapter: { privateRank: … }",
  ],
  [
    "a setting of sampling beside it",
    answered,
    { temperature: 1 },
    "generate: temperature belongs in sampling; write sampling: { temperature: … }",
  ],
  [
    "data",
    trained,
    { ...run, data: 5 },
    "finetune: data: 5 is invalid; give a string or an array or an object",
  ],
  [
    "data that is no list",
    trained,
    { ...run, data: {} },
    "data: {} is invalid; give a file, an array of files",
  ],
  ["no folder", trained, { ...run, out: undefined }, "finetune: out is missing; give a string"],
  [
    "a flag",
    trained,
    { ...run, overwrite: "no" },
    'finetune: overwrite: "no" is invalid; give true or false',
  ],
  ["an adapter", trained, { ...run, adapter: "mos" }, 'finetune: adapter: "mos" is invalid; give an object'],
  [
    "a session",
    trained,
    { ...run, session: { thread: 1 } },
    "session: unknown option thread; did you mean threads?",
  ],
  [
    "a setting",
    trained,
    { ...run, settings: { batchsize: 3 } },
    "batchsize: unknown setting; did you mean batchSize?",
  ],
  ["a method's setting", trained, { ...run, adapter: { method: "mos", rnk: 5 } }, "did you mean rank?"],
  [
    "a preview",
    (o: unknown) => previewRun(js(o)),
    { ...run, line: [1] },
    "unknown option line; did you mean lines?",
  ],
  ["an engine's model", (o: unknown) => openEngine(js(o)), { model: 5 }, "openEngine: model: 5 is invalid"],
  [
    "a device",
    (o: unknown) => openEngine(js(o)),
    { model, device: "gpu" },
    'device: "gpu" is invalid; give one of cpu',
  ],
  [
    "an engine's setting",
    (o: unknown) => openEngine(js(o)),
    { model, maxbatch: 3 },
    "did you mean maxBatch?",
  ],
  [
    "an engine's defaults",
    (o: unknown) => openEngine(js(o)),
    { model, defaults: { temprature: 1 } },
    "did you mean temperature?",
  ],
  [
    "a server's port",
    (o: unknown) => serve(js(o)),
    { model, prot: 80 },
    "serve: unknown option prot; did you mean port?",
  ],
  [
    "an app's log",
    (o: unknown) => openApp(js(o)),
    { model, log: "x" },
    'openApp: log: "x" is invalid; give an object',
  ],
  [
    "an answer's length",
    answered,
    { maxtokens: 5 },
    "generate: unknown option maxtokens; did you mean maxTokens?",
  ],
  ["an answer's stop", answered, { stop: "x" }, 'generate: stop: "x" is invalid; give an array'],
  ["an answer's sampling", answered, { sampling: { topp: 1 } }, "topp: unknown setting; did you mean topP?"],
  [
    "a merge",
    (o: unknown) => first(mergeAdapter(js(o))),
    { ...exchange, shardsize: 1 },
    "did you mean shardSize?",
  ],
  [
    "an export",
    (o: unknown) => exportAdapter(js(o)),
    { ...exchange, format: "pef" },
    'format: "pef" is invalid; give one of peft, gguf',
  ],
  [
    "an import",
    (o: unknown) => importAdapter(js(o)),
    { ...exchange, adapter: undefined },
    "unknown option adapter",
  ],
  [
    "a base",
    (o: unknown) => loadModel(model, js(o)),
    { baseDtype: "int3" },
    'baseDtype: "int3" is invalid; give one of stored',
  ],
  ["a model", (o: unknown) => inspectModel(js(o)), 5, "model: 5 is invalid; give a string"],
  ["a data set", (o: unknown) => readDataset(js(o)), 5, "data: 5 is invalid"],
])("%s", async (_, call, options, message) => {
  const error = await Promise.resolve()
    .then(() => call(options))
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ name: "MosError", message: expect.stringContaining(message) });
});

test("an adapter that is left out is Mixture of Shards with its defaults", async () => {
  const { out: _, adapter, ...options } = run;
  const previewed = await previewRun(js(options));
  expect(previewed.adapter).toEqual((await previewRun(js({ ...options, adapter }))).adapter);
});
