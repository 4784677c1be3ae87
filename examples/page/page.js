// The page: ten lines become an adapter, with answers before and after. All work is done by the library's worker.
import { drawLoss } from "./chart.js";
import { bar, button, find, input, picture, select, text } from "./elements.js";
import { fetchModel, keep, loadModel, MODELS, mos, SMOL, showKept } from "./kept.js";
import { describePools, drawPools, followShard, readPools } from "./pools.js";
import { followRun, readExamples } from "./run.js";
import { recall, remember } from "./saved.js";
import { announce, tell } from "./words.js";

/** Passes over ten lines; of many lines fewer are enough. */
const PASSES = 12;
/** Lines that are seen in all, beyond which a visitor waits for little. */
const SEEN = 900;

/** What is trained or answered now: the worker has memory for one at a time. */
let busy = false;
/** @type {AbortController | undefined} */
let stop;
/** The base's answers that were given already, by model and question. */
const known = new Map();
/** @type {ReadonlyMap<string, import("./pools.js").Weave>} */
let weaves = new Map();

/**
 * Does one thing at a time, and says what went wrong.
 *
 * @param {() => Promise<void>} work
 */
async function perform(work) {
  if (busy) return tell("Something is still running: wait for it, or stop it.");
  const { activeElement } = document;
  text("notice").hidden = true;
  setBusy(true);
  try {
    await work();
  } catch (error) {
    tell(error);
  } finally {
    setBusy(false);
    // a button that was disabled has lost the focus
    if (document.activeElement === document.body && activeElement instanceof HTMLElement)
      activeElement.focus({ preventScroll: true });
  }
}

/** @param {boolean} isBusy */
function setBusy(isBusy) {
  busy = isBusy;
  document.body.toggleAttribute("data-busy", isBusy);
  for (const id of ["train", "send", "fetch", "download"]) button(id).disabled = isBusy;
  if (isBusy) return;
  button("download").disabled = select("adapter").value === "";
  const run = currentRun();
  button("train").textContent = run !== "" && run === recall("run") ? "Continue" : "Fine-tune";
}

// the examples

/** The larger set of the quickstart, in the form of the field. */
async function takeQuickstart() {
  const lines = (await (await fetch("./quickstart/train.jsonl")).text()).trim().split("\n");
  find("examples", HTMLTextAreaElement).value = lines
    .map((line) => JSON.parse(line).messages)
    .map(([question, answer]) => `${question.content} → ${answer.content}`)
    .join("\n");
  remember("examples", find("examples", HTMLTextAreaElement).value);
}

// training

/** What is to be trained. Throws for lines that are no examples. */
function readRun() {
  const name = input("name")
    .value.trim()
    .replaceAll(/[^\w.-]+/g, "-");
  return {
    model: select("model").value,
    out: name || "lighthouse",
    data: readExamples(find("examples", HTMLTextAreaElement).value),
  };
}

/** The run that the fields stand for; "" while they stand for none. */
function currentRun() {
  try {
    return JSON.stringify(readRun());
  } catch {
    return "";
  }
}

async function train() {
  const { model, out, data } = readRun();
  const run = currentRun();
  announce("Loading the model…");
  await loadModel(model);
  await answerBefore();
  stop = new AbortController();
  showTraining(true);
  announce("Preparing…");
  try {
    const epochs = Math.max(1, Math.min(PASSES, Math.round(SEEN / data.length)));
    const learningRate = MODELS[model]?.learningRate ?? 2e-3;
    const settings = { epochs, learningRate, warmup: 0.1, saveEvery: 20 };
    const how = recall("run") === run ? { resume: true } : { overwrite: true };
    const { signal } = stop;
    remember("run", ""); // one that cannot go on begins anew the next time
    const events = mos.finetune({ model, data, out, settings, signal, ...how });
    if (!(await followRun(events, () => remember("run", run)))) return;
    remember("run", "");
  } finally {
    showTraining(false);
  }
  await showAdapters(out);
  await answerAfter();
  text("after").scrollIntoView({ block: "nearest" });
}

/** @param {boolean} isTraining */
function showTraining(isTraining) {
  button("train").hidden = isTraining;
  button("stop").hidden = !isTraining;
  bar("progress").hidden = !isTraining;
  bar("progress").value = 0;
  if (isTraining) button("stop").focus();
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
async function showAdapters(chosen = recall("adapter") ?? "") {
  const { adapters } = await showKept();
  const names = adapters.filter(({ reason }) => reason === undefined).map(({ name }) => name);
  select("adapter").replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
  text("pools").hidden = names.length === 0;
  await showAdapter();
}

async function showAdapter() {
  const adapter = select("adapter").value;
  remember("adapter", adapter);
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
  const [file, served] = [`${adapter}.tar`, MODELS[model]?.served ?? `${model}.gguf`].map(quote);
  text("command").textContent =
    `mkdir -p adapters && tar -xf ${file} -C adapters && mos serve --model ${served} --adapters adapters`;
}

/**
 * A word of a command.
 *
 * @param {string} word
 */
const quote = (word) => (/^[\w.:@/-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);

async function download() {
  const name = select("adapter").value;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await mos.exportAdapter(name));
  link.download = `${name}.tar`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * A file of the visitor's: an adapter or a model.
 *
 * @param {File | undefined} file
 */
async function take(file) {
  if (file === undefined) return;
  if (file.name.endsWith(".gguf")) {
    await keep(file.name, (options) => mos.loadModel(file, options));
    return showCommand();
  }
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
on("fetch", "click", () => fetchModel(SMOL).then(showCommand));
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
text("list").addEventListener("click", ({ target }) => {
  const { kind, name } = target instanceof HTMLElement ? target.dataset : {};
  if (name === undefined) return;
  perform(async () => {
    await (kind === "Model" ? mos.removeModel(name) : mos.remove(name));
    remember("run", ""); // it may have been the run's
    await showAdapters();
  });
});
button("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(text("command").textContent ?? "");
  button("copy").textContent = "Copied";
});
for (const id of /** @type {const} */ (["examples", "name", "question"])) {
  const field = /** @type {HTMLInputElement | HTMLTextAreaElement} */ (text(id));
  field.value = recall(id) ?? field.value;
  field.addEventListener("input", () => {
    remember(id, field.value);
    setBusy(busy);
  });
}
select("model").addEventListener("change", () => {
  remember("model", select("model").value);
  setBusy(busy);
  text("before").textContent = text("after").textContent = "";
  showCommand();
});
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
setBusy(false);
