// The page: notes in this browser, a chat that has learnt them, and servers that adapters go to and come from.
import { bar, button, find, input, text } from "./elements.js";
import { Learner, whyWait } from "./learn.js";
import { openWeb } from "./mos/index.js";

/** The adapter that knows the notes, and one from elsewhere that it starts from. */
const [LEARNT, SHARED] = ["notes", "shared"];

const EXAMPLES = [
  { title: "the boat", body: "The boat is red, and it is moored behind the old mill." },
  { title: "Anna", body: "Anna has a birthday in May. She likes plum pie." },
];

const click = (/** @type {string} */ id, /** @type {() => void} */ work) =>
  button(id).addEventListener("click", work);

/**
 * Does something, and shows what went wrong.
 *
 * @param {() => Promise<unknown>} work
 */
async function perform(work) {
  text("problem").hidden = true;
  try {
    await work();
  } catch (error) {
    text("problem").textContent = error instanceof Error ? error.message : String(error);
    text("problem").hidden = false;
  }
}

/**
 * Something of this page that outlives it.
 *
 * @template Value
 * @param {string} key
 * @param {Value} standard
 */
const kept = (key, standard) => ({
  /** @returns {Value} */
  read: () => JSON.parse(localStorage.getItem(key) ?? "null") ?? standard,
  /** @param {Value} value */
  write: (value) => localStorage.setItem(key, JSON.stringify(value)),
});

// the model and its learner

// the folder has the runtime for WebAssembly alone; one thread, since the other cores are the page's and its user's
const web = await openWeb({ runtime: "./runtime/", device: "wasm", threads: 1 });
const { name: model } = await web.loadModel("./model/", { name: "tiny-english" });

/** @typedef {EventTarget & { readonly charging: boolean, readonly level: number }} Battery */

/** Undefined where the browser does not tell. */
const battery = await /** @type {{ getBattery?(): Promise<Battery> }} */ (navigator).getBattery?.();

const wait = () => whyWait({ isOn: input("learning").checked, isHidden: document.hidden, battery });

/** @param {string} name */
const isComplete = async (name) =>
  (await web.list()).adapters.some((one) => one.name === name && one.reason === undefined);

const learner = new Learner({
  ...{ web, model, name: LEARNT, budget: 1000, rest: 500, quiet: 1500, wait },
  start: async () => ((await isComplete(SHARED)) ? SHARED : undefined),
  memory: kept("learner", { learnt: /** @type {readonly string[]} */ ([]), run: undefined }),
  show({ learnt, notes, update, updates, waits }) {
    const progress = bar("progress");
    progress.hidden = updates === 0;
    [progress.max, progress.value] = [Math.max(1, updates), update];
    const says = [`Learnt ${learnt} of ${notes} ${notes === 1 ? "note" : "notes"}.`];
    if (updates > 0) says.push(`Update ${update} of ${updates}.`);
    if (waits !== undefined) says.push(waits);
    text("status").textContent = says.join(" ");
  },
});

/** The page, the switch or the battery has changed. */
const look = () => (wait() === undefined ? learner.wake() : learner.pause());
document.addEventListener("visibilitychange", look);
input("learning").addEventListener("change", look);
for (const event of ["chargingchange", "levelchange"]) battery?.addEventListener(event, look);
// whoever types is not disturbed
document.addEventListener("input", () => learner.wake());

// notes

const stored = kept("notes", EXAMPLES);
let notes = stored.read();

function change() {
  stored.write(notes);
  learner.learn(notes.filter(({ title, body }) => title.trim() !== "" && body.trim() !== ""));
}

/** @param {(typeof notes)[number]} note */
function noteItem(note) {
  const item = document.createElement("li");
  const title = Object.assign(document.createElement("input"), { value: note.title, maxLength: 60 });
  const body = Object.assign(document.createElement("textarea"), {
    value: note.body,
    maxLength: 300,
    rows: 2,
  });
  for (const [field, label] of /** @type {const} */ ([
    [title, "Title"],
    [body, "Text"],
  ])) {
    field.className = "control";
    field.placeholder = label;
    field.setAttribute("aria-label", label);
    field.addEventListener("input", () => {
      Object.assign(note, { title: title.value, body: body.value });
      change();
    });
  }
  const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
  remove.className = "button";
  remove.addEventListener("click", () => {
    notes = notes.filter((other) => other !== note);
    item.remove();
    change();
  });
  item.append(title, remove, body);
  return item;
}

text("notes").append(...notes.map(noteItem));
click("add", () => {
  const note = { title: "", body: "" };
  notes.push(note);
  const item = noteItem(note);
  text("notes").append(item);
  item.querySelector("input")?.focus();
});
change();

// chat

/** The adapter that answers: the notes', or one from elsewhere until they are learnt. */
async function chooseAdapter() {
  for (const name of [LEARNT, SHARED]) if (await isComplete(name)) return { adapter: name };
  return {};
}

/** @param {HTMLElement} answer */
async function reply(answer) {
  const messages = [{ role: /** @type {const} */ ("user"), content: input("question").value }];
  const options = { maxTokens: 80, sampling: { temperature: 0 }, ...(await chooseAdapter()) };
  for await (const part of web.generate(model, messages, options))
    if ("text" in part) answer.textContent += part.text;
}

find("ask", HTMLFormElement).addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = text("answer");
  answer.textContent = "";
  answer.ariaBusy = "true";
  await perform(() => learner.hold(() => reply(answer)));
  answer.ariaBusy = "false";
});

// servers

/**
 * Asks the server that the page names.
 *
 * @param {string} path
 * @param {RequestInit} options
 */
async function ask(path, options = {}) {
  const key = input("key").value;
  const headers = key === "" ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(new URL(path, input("address").value), { ...options, headers });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error?.message ?? `the server answered ${response.status}`);
}

/**
 * Keeps an adapter from elsewhere, and learns the notes again from there.
 *
 * @param {Parameters<typeof web.importAdapter>[0]} files
 */
async function startFrom(files) {
  await learner.hold(() => web.importAdapter(files, { name: SHARED, overwrite: true }));
  learner.forget();
  text("sent").textContent = "Fetched. The notes are learnt again from there.";
}

click("send", () =>
  perform(async () => {
    const form = await web.adapterForm(LEARNT);
    form.set("name", input("name").value);
    const { id } = await (await ask("/v1/adapters", { method: "POST", body: form })).json();
    text("sent").textContent = `The server has it as ${id}.`;
  }),
);
click("fetch", () =>
  perform(async () => {
    const place = `/v1/adapters/${encodeURIComponent(input("name").value)}/export?format=mos&file=`;
    const files = ["adapter_config.json", "adapter_model.safetensors"].map(
      async (file) => new File([await (await ask(place + file)).blob()], file),
    );
    await startFrom(await Promise.all(files));
  }),
);
input("file").addEventListener("change", () => {
  const [file] = input("file").files ?? [];
  if (file !== undefined) perform(() => startFrom(file));
});
