// The library, and the models and adapters that it keeps in this browser.
import { bar, button, select, text } from "./elements.js";
import { openWeb } from "./mos/index.js";
import { recall, remember } from "./saved.js";
import { announce, describeBytes, tell } from "./words.js";

/** A file of 105 MB, by its name on the Hub. */
const SMOLLM2 =
  "unsloth/SmolLM2-135M-Instruct-GGUF@9e6855bc4be717fca1ef21360a1db4b29d5c559a:SmolLM2-135M-Instruct-Q4_K_M.gguf";

/**
 * Models that are there without a file of the visitor's: where each comes from, how it is trained, and what a server calls it.
 *
 * @typedef {object} Model
 * @property {string} title
 * @property {string} source
 * @property {Readonly<Record<string, string | undefined>>} [files]
 * @property {number} learningRate
 * @property {string} served
 */

/** @type {Readonly<Record<string, Model>>} */
export const MODELS = {
  "tiny-english": {
    title: "Tiny English (2 MB, a toy)",
    source: "./model/",
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
  "SmolLM2-135M": { title: "SmolLM2-135M", source: SMOLLM2, learningRate: 2e-3, served: SMOLLM2 },
};
export const [TINY, SMOL] = /** @type {[string, string]} */ (Object.keys(MODELS));

// the folder has the runtime for WebAssembly alone
export const mos = await openWeb({ runtime: "./runtime/", device: "wasm" }).catch((error) => {
  tell(error);
  throw error;
});

/**
 * Has a model ready: the bundled one is loaded when it is first needed.
 *
 * @param {string} name
 */
export async function loadModel(name) {
  const { models } = await mos.list();
  if (!models.some((model) => model.name === name)) await fetchModel(name);
}

/** @param {string} name */
export async function fetchModel(name) {
  const offered = MODELS[name];
  if (offered === undefined) throw new Error(`The model ${name} is not here any more: open its file again.`);
  const { source, files } = offered;
  await keep(name, (options) => mos.loadModel(source, { name, ...options, ...(files && { files }) }));
}

/**
 * Keeps a model, with its progress and a button that ends it.
 *
 * @param {string} name
 * @param {(options: import("./mos/index.js").WebLoadOptions) => Promise<{ name: string }>} load
 */
export async function keep(name, load) {
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
    announce("Model loaded.");
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

/**
 * Lists what is kept, and the models to choose from.
 *
 * @param {string} [chosen]
 */
export async function showKept(chosen = select("model").value || recall("model")) {
  const { models, adapters } = await mos.list();
  const names = [...new Set([TINY, ...models.map(({ name }) => name)])];
  select("model").replaceChildren(
    ...names.map((name) => new Option(MODELS[name]?.title ?? name, name, false, name === (chosen || TINY))),
  );
  remember("model", select("model").value);
  button("fetch").hidden = names.includes(SMOL);
  const sizes = adapters.map(async ({ name, reason }) => ({
    kind: /** @type {const} */ ("Adapter"),
    name,
    size: reason === undefined ? describeBytes((await mos.exportAdapter(name)).size) : "not finished",
  }));
  text("list").replaceChildren(
    ...models.map(({ name, bytes }) => keptItem({ kind: "Model", name, size: describeBytes(bytes) })),
    ...(await Promise.all(sizes)).map(keptItem),
  );
  const { isKept, usage } = await mos.storage();
  text("storage").textContent = isKept
    ? `Kept in this browser alone, ${describeBytes(usage)} in all.`
    : "This browser keeps nothing here: all is gone when the page is closed.";
  return { adapters };
}

/**
 * @param {{ kind: "Model" | "Adapter", name: string, size: string }} kept
 */
function keptItem({ kind, name, size }) {
  const item = document.createElement("li");
  const [title, note] = [document.createElement("span"), document.createElement("span")];
  const remove = document.createElement("button");
  title.textContent = `${kind} ${name}`;
  note.textContent = size;
  note.className = "muted";
  remove.className = "button";
  remove.textContent = "Remove";
  remove.setAttribute("aria-label", `Remove ${kind} ${name}`);
  Object.assign(remove.dataset, { kind, name });
  item.append(title, note, remove);
  return item;
}
