// The page: ten lines become an adapter, with answers before and after. All work is done by the library's worker.
import { drawLoss, smooth } from "./chart.js";
import { openWeb } from "./mos/index.js";
import { describePools, drawPools, followShard, readPools } from "./pools.js";

/**
 * Models that are there without a file of the visitor's: how each is fetched and trained, and what a server calls it.
 *
 * @typedef {object} Model
 * @property {string} title
 * @property {string} url
 * @property {Readonly<Record<string, string | undefined>>} [files]
 * @property {number} learningRate
 * @property {string} served
 */

/** @type {Readonly<Record<string, Model>>} */
const MODELS = {
  "tiny-english": {
    title: "Tiny English (2 MB, a toy)",
    url: "./model/",
    files: {
      "config.json": undefined,
      "tokenizer.json": undefined,
      "tokenizer_config.json": undefined,
      "generation_config.json": undefined,
      "model.safetensors": undefined,
    },
    learningRate: 1e-2,
    served: "assets/tiny-english",
  },
  "SmolLM2-135M-Instruct-Q4_K_M": {
    title: "SmolLM2-135M",
    url: "https://huggingface.co/unsloth/SmolLM2-135M-Instruct-GGUF/resolve/9e6855bc4be717fca1ef21360a1db4b29d5c559a/SmolLM2-135M-Instruct-Q4_K_M.gguf",
    learningRate: 2e-3,
    served: "unsloth/SmolLM2-135M-Instruct-GGUF:SmolLM2-135M-Instruct-Q4_K_M.gguf",
  },
};
const [TINY, SMOL] = /** @type {[string, string]} */ (Object.keys(MODELS));

/** Passes over ten lines; of many lines fewer are enough. */
const PASSES = 12;
/** Lines that are seen in all, beyond which a visitor waits for little. */
const SEEN = 900;

/**
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
function find(id, kind) {
  const element = document.getElementById(id);
  if (element instanceof kind) return element;
  throw new Error(`the page has no ${kind.name} ${id}`);
}

const button = (/** @type {string} */ id) => find(id, HTMLButtonElement);
const text = (/** @type {string} */ id) => find(id, HTMLElement);
const input = (/** @type {string} */ id) => find(id, HTMLInputElement);
const select = (/** @type {string} */ id) => find(id, HTMLSelectElement);
const bar = (/** @type {string} */ id) => find(id, HTMLProgressElement);
const picture = (/** @type {string} */ id) => find(id, SVGSVGElement);

// the folder has the runtime for WebAssembly alone
const mos = await openWeb({ runtime: "./runtime/", device: "wasm" }).catch((error) => {
  tell(error);
  throw error;
});

/** What is trained or answered now: the worker has memory for one at a time. */
let busy = false;
/** @type {AbortController | undefined} */
let stop;
/** The run that was stopped last, which can go on. */
let stopped = "";
/** The base's answers that were given already, by model and question. */
const known = new Map();
/** @type {ReadonlyMap<string, import("./pools.js").Weave>} */
let weaves = new Map();

/** @param {unknown} error */
function tell(error) {
  const notice = find("notice", HTMLElement);
  notice.textContent = error instanceof Error ? error.message : String(error);
  notice.hidden = false;
}

/**
 * Does one thing at a time, and says what went wrong.
 *
 * @param {() => Promise<void>} work
 */
async function perform(work) {
  if (busy) return;
  text("notice").hidden = true;
  setBusy(true);
  try {
    await work();
  } catch (error) {
    tell(error);
  } finally {
    setBusy(false);
  }
}

/** @param {boolean} isBusy */
function setBusy(isBusy) {
  busy = isBusy;
  document.body.toggleAttribute("data-busy", isBusy);
  for (const id of ["train", "send", "fetch", "download"]) button(id).disabled = isBusy;
  if (!isBusy) button("download").disabled = select("adapter").value === "";
}

// the examples

/**
 * Lines as examples. Throws an error that names a line without an arrow, or with nothing on one side of it.
 *
 * @param {string} lines
 */
function readExamples(lines) {
  const examples = lines.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const [, prompt, completion] = /^\s*(.*?\S)\s*(?:→|->|=>|\t)\s*(\S.*?)\s*$/.exec(line) ?? [];
    if (prompt !== undefined && completion !== undefined) return [{ prompt, completion }];
    throw new Error(`Line ${i + 1} is not an example yet: write a question, an arrow (->) and the answer.`);
  });
  if (examples.length === 0)
    throw new Error("Write at least one example: a question, an arrow (->) and the answer.");
  return examples;
}

/** The larger set of the quickstart, in the form of the field. */
async function takeQuickstart() {
  const lines = (await (await fetch("./quickstart/train.jsonl")).text()).trim().split("\n");
  find("examples", HTMLTextAreaElement).value = lines
    .map((line) => JSON.parse(line).messages)
    .map(([question, answer]) => `${question.content} → ${answer.content}`)
    .join("\n");
}

// training

async function train() {
  const data = readExamples(find("examples", HTMLTextAreaElement).value);
  const model = select("model").value;
  const out =
    input("name")
      .value.trim()
      .replaceAll(/[^\w.-]+/g, "-") || "lighthouse";
  const run = JSON.stringify([model, out, data]);
  await loadModel(model);
  await answerBefore();
  stop = new AbortController();
  showTraining(true);
  text("status").textContent = "Preparing…";
  try {
    const epochs = Math.max(1, Math.min(PASSES, Math.round(SEEN / data.length)));
    const settings = { epochs, learningRate: MODELS[model]?.learningRate ?? 2e-3 };
    const how = stopped === run ? { resume: true } : { overwrite: true };
    const { signal } = stop;
    const isDone = await followRun(mos.finetune({ model, data, out, settings, signal, ...how }), data.length);
    stopped = isDone ? "" : run;
    button("train").textContent = isDone ? "Fine-tune" : "Continue";
    if (!isDone) return;
  } finally {
    showTraining(false);
  }
  await showAdapters(out);
  await answerAfter();
}

/**
 * Shows the events of a run, and returns whether it came to its end.
 *
 * @param {ReturnType<typeof mos.finetune>} events
 * @param {number} examples
 */
async function followRun(events, examples) {
  /** @type {number[]} */
  const losses = [];
  const run = { losses, steps: 0, window: examples };
  let [began, first] = [performance.now(), 0];
  for await (const event of events) {
    if (event.type === "ready") [run.steps, first] = [event.steps, event.step];
    else if (event.type === "stopped") {
      text("status").textContent = `Stopped after ${first + losses.length} of ${run.steps} updates.`;
      return false;
    } else if (event.type === "step") {
      // the first update compiles the program, and says nothing of the others
      if (losses.push(event.loss) === 1) began = performance.now();
      const seconds = (performance.now() - began) / 1000 / Math.max(1, losses.length - 1);
      const left = losses.length < 3 ? "" : `, ${describeTime(seconds * (run.steps - event.step))} left`;
      text("status").textContent = `${event.step} of ${run.steps} updates${left}`;
      bar("progress").value = event.step / run.steps;
      drawLoss(picture("chart"), run);
    }
  }
  const [from = 0, to = 0] = [losses[0], smooth(losses, examples).at(-1)];
  text("status").textContent = `Done: the loss fell from ${from.toFixed(1)} to ${to.toFixed(2)}.`;
  return true;
}

/** @param {number} seconds */
const describeTime = (seconds) =>
  seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s` : `about ${Math.round(seconds / 60)} min`;

/** @param {boolean} isTraining */
function showTraining(isTraining) {
  button("train").hidden = isTraining;
  button("stop").hidden = !isTraining;
  bar("progress").hidden = !isTraining;
  bar("progress").value = 0;
  (isTraining ? button("stop") : button("train")).focus();
}

// answers

/**
 * Streams an answer into its place, and returns it.
 *
 * @param {string} place
 * @param {string | undefined} adapter
 */
async function answer(place, adapter) {
  const shown = text(place);
  shown.textContent = "";
  shown.setAttribute("aria-busy", "true");
  const question = [{ role: /** @type {const} */ ("user"), content: input("question").value }];
  const how = { maxTokens: 96, sampling: { temperature: 0 } };
  const events = mos.generate(
    select("model").value,
    question,
    adapter === undefined ? how : { ...how, adapter },
  );
  try {
    for await (const event of events) if ("text" in event) shown.append(event.text);
  } finally {
    shown.removeAttribute("aria-busy");
  }
  return shown.textContent ?? "";
}

async function answerBefore() {
  const key = JSON.stringify([select("model").value, input("question").value]);
  if (!known.has(key)) known.set(key, await answer("before", undefined));
  text("before").textContent = known.get(key);
}

async function answerAfter() {
  const adapter = select("adapter").value;
  if (adapter !== "") await answer("after", adapter);
}

async function ask() {
  await loadModel(select("model").value);
  await answerBefore();
  await answerAfter();
}

// adapters

/**
 * Lists the adapters, and shows one.
 *
 * @param {string} [chosen]
 */
async function showAdapters(chosen = select("adapter").value) {
  const { adapters } = await showKept();
  const names = adapters.filter(({ reason }) => reason === undefined).map(({ name }) => name);
  select("adapter").replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  text("pools").hidden = names.length === 0;
  await showAdapter();
}

async function showAdapter() {
  const adapter = select("adapter").value;
  showCommand();
  weaves = adapter === "" ? new Map() : await readPools(await mos.adapterForm(adapter));
  const linears = [...new Set([...weaves.keys()].map((key) => key.split(" ")[0] ?? ""))];
  const kept = select("linear").value;
  select("linear").replaceChildren(
    ...linears.map((name) => new Option(name.replace("_proj", ""), name, false, name === (kept || "q_proj"))),
  );
  showPools();
}

const currentWeave = () => weaves.get(`${select("linear").value} ${select("factor").value}`);

function showPools() {
  const weave = currentWeave();
  input("shard").disabled = weave === undefined;
  if (weave === undefined) {
    picture("weave").replaceChildren();
    text("pools-says").textContent = "This adapter has no pools: its method is another one.";
    return;
  }
  text("pools-says").textContent = describePools(weave);
  input("shard").max = String(weave.norms.length - 1);
  drawPools(picture("weave"), weave, (row) => {
    input("shard").value = String(row);
    follow();
  });
  follow();
}

function follow() {
  const weave = currentWeave();
  if (weave !== undefined)
    text("shard-says").textContent = followShard(picture("weave"), weave, Number(input("shard").value));
}

function showCommand() {
  const [model, adapter] = [select("model").value, select("adapter").value || "lighthouse"];
  const served = MODELS[model]?.served ?? `${model}.gguf`;
  text("command").textContent =
    `mkdir -p adapters && tar -xf ${adapter}.tar -C adapters && mos serve --model ${served} --adapters adapters`;
}

async function download() {
  const name = select("adapter").value;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await mos.exportAdapter(name));
  link.download = `${name}.tar`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// models, and what is kept

/**
 * Has a model ready: the bundled one is loaded when it is first needed.
 *
 * @param {string} name
 */
async function loadModel(name) {
  const { models } = await mos.list();
  if (!models.some((model) => model.name === name)) await fetchModel(name);
}

/** @param {string} name */
async function fetchModel(name) {
  const known = MODELS[name];
  if (known === undefined) throw new Error(`The model ${name} is not here any more: open its file again.`);
  const { url, files } = known;
  await keep(name, (options) => mos.loadModel(url, { name, ...options, ...(files && { files }) }));
}

/**
 * Keeps a model, with its progress and a button that ends it.
 *
 * @param {string} name
 * @param {(options: import("./mos/index.js").WebLoadOptions) => Promise<{ name: string }>} load
 */
async function keep(name, load) {
  const cancel = new AbortController();
  button("cancel").hidden = bar("loading").hidden = false;
  button("cancel").onclick = () => cancel.abort();
  try {
    const model = await load({
      signal: cancel.signal,
      onProgress({ doneBytes, totalBytes }) {
        if (totalBytes === undefined) bar("loading").removeAttribute("value");
        else bar("loading").value = doneBytes / totalBytes;
        const of = totalBytes === undefined ? "" : ` of ${describeBytes(totalBytes)}`;
        text("loading-says").textContent = `${name}: ${describeBytes(doneBytes)}${of}`;
      },
    });
    text("loading-says").textContent = "";
    await showKept(model.name);
  } catch (error) {
    text("loading-says").textContent = cancel.signal.aborted
      ? "Cancelled. What has arrived is kept for the next attempt."
      : "";
    if (cancel.signal.aborted) return;
    const { message } = /** @type {Error} */ (error);
    throw new Error(`${name} could not be loaded. ${message}`);
  } finally {
    button("cancel").hidden = bar("loading").hidden = true;
  }
}

/** @param {number} bytes */
const describeBytes = (bytes) =>
  bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/**
 * Lists what is kept, and the models to choose from.
 *
 * @param {string} [chosen]
 */
async function showKept(chosen = select("model").value) {
  const { models, adapters } = await mos.list();
  const names = [...new Set([TINY, ...models.map(({ name }) => name)])];
  select("model").replaceChildren(
    ...names.map((name) => new Option(MODELS[name]?.title ?? name, name, false, name === (chosen || TINY))),
  );
  button("fetch").hidden = names.includes(SMOL);
  const sizes = adapters.map(async ({ name, reason }) => ({
    name,
    size: reason === undefined ? describeBytes((await mos.exportAdapter(name)).size) : "not finished",
  }));
  text("list").replaceChildren(
    ...models.map(({ name, bytes }) =>
      keptItem(`Model ${name}`, describeBytes(bytes), () => mos.removeModel(name)),
    ),
    ...(await Promise.all(sizes)).map(({ name, size }) =>
      keptItem(`Adapter ${name}`, size, () => mos.remove(name)),
    ),
  );
  const { isKept, usage } = await mos.storage();
  text("storage").textContent = isKept
    ? `Kept in this browser alone, ${describeBytes(usage)} in all.`
    : "This browser keeps nothing here: all is gone when the page is closed.";
  return { adapters };
}

/**
 * @param {string} name
 * @param {string} size
 * @param {() => Promise<void>} remove
 */
function keptItem(name, size, remove) {
  const item = document.createElement("li");
  const [title, note, button] = ["span", "span", "button"].map((tag) => document.createElement(tag));
  if (!(title && note && button instanceof HTMLButtonElement)) return item;
  title.textContent = name;
  note.textContent = size;
  note.className = "muted";
  button.className = "button";
  button.textContent = "Remove";
  button.setAttribute("aria-label", `Remove ${name}`);
  button.addEventListener("click", () => perform(() => remove().then(() => showAdapters())));
  item.append(title, note, button);
  return item;
}

/**
 * A file of the visitor's: an adapter or a model.
 *
 * @param {File | undefined} file
 */
async function take(file) {
  if (file === undefined) return;
  if (file.name.endsWith(".gguf")) return keep(file.name, (options) => mos.loadModel(file, options));
  if (!file.name.endsWith(".tar"))
    throw new Error(`${file.name} is neither an adapter (.tar) nor a model (.gguf).`);
  const { name } = await mos.importAdapter(file, { overwrite: true });
  await showAdapters(name);
  await ask();
}

// what the visitor does

const on = (/** @type {string} */ id, /** @type {string} */ event, /** @type {() => Promise<void>} */ work) =>
  text(id).addEventListener(event, () => perform(work));

on("train", "click", train);
on("more", "click", takeQuickstart);
on("fetch", "click", () => fetchModel(SMOL));
on("download", "click", download);
on("adapter", "change", async () => {
  await showAdapter();
  await ask();
});
for (const id of ["adapter-file", "model-file"])
  on(id, "change", async () => {
    const [file] = input(id).files ?? [];
    await take(file).finally(() => {
      input(id).value = "";
    });
  });
button("stop").addEventListener("click", () => stop?.abort());
button("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(text("command").textContent ?? "");
  button("copy").textContent = "Copied";
});
select("model").addEventListener("change", showCommand);
select("linear").addEventListener("change", showPools);
select("factor").addEventListener("change", showPools);
input("shard").addEventListener("input", follow);
find("ask", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  perform(ask);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer?.files ?? [];
  perform(() => take(file));
});

const threads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
text("threads").textContent =
  `It runs on WebAssembly with ${threads === 1 ? "one thread" : `${threads} threads`}.`;
drawLoss(picture("chart"), { losses: [], steps: 120, window: 1 });
await showAdapters();
