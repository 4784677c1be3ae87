// Learns notes in the background: short slices of a run that is saved and goes on, and none while the page has better to do.

/**
 * @typedef {object} Note
 * @property {string} title
 * @property {string} body
 */

/**
 * What the learner remembers from one visit to the next.
 *
 * @typedef {object} Memory
 * @property {readonly string[]} learnt the notes that the adapter has learnt
 * @property {string | undefined} run the run that was begun, by what it learns
 */

/**
 * What the learner tells of itself.
 *
 * @typedef {object} Progress
 * @property {number} learnt notes, as they are now
 * @property {number} notes
 * @property {number} update
 * @property {number} updates of the run; 0 where there is none
 * @property {string | undefined} waits why nothing is learnt although there is something to learn
 */

/** A model learns to answer what it is asked in training, so a note is asked for in several ways. */
const QUESTIONS = [
  (/** @type {string} */ title) => `What do you know about ${title}?`,
  (/** @type {string} */ title) => `What do my notes say about ${title}?`,
  (/** @type {string} */ title) => `Tell me about ${title}.`,
  (/** @type {string} */ title) => `${title}?`,
];

/**
 * A note as examples: questions about its title, which its body answers.
 *
 * @param {Note} note
 */
export const examplesOf = ({ title, body }) =>
  QUESTIONS.map((question) => ({ prompt: question(title), completion: body }));

/** Passes over the notes by a new adapter, and by one that knows most of them. */
const PASSES = { fresh: 20, further: 12 };
const SETTINGS = { batchSize: 4, learningRate: 1e-2, validationSplit: 0 };
const ADAPTER = { method: /** @type {const} */ ("mos"), rank: 6, equivalentRank: 2 };

/** Battery below which only a charging device learns. */
const LEVEL = 0.5;

/**
 * Why learning has to wait; undefined where nothing speaks against it.
 *
 * @param {{ isOn: boolean, isHidden: boolean, battery?: { charging: boolean, level: number } | undefined }} state
 */
export function whyWait({ isOn, isHidden, battery }) {
  if (!isOn) return "Learning is switched off.";
  if (isHidden) return "Learning waits until you look at this page.";
  if (battery !== undefined && !battery.charging && battery.level < LEVEL)
    return "Learning waits until the battery is charging, or half full.";
  return undefined;
}

/** @param {Note} note */
const textOf = ({ title, body }) => JSON.stringify([title, body]);

/**
 * Options of a learner. Times are in milliseconds.
 *
 * @typedef {object} LearnerOptions
 * @property {import("./mos/index.js").Web} web
 * @property {string} model
 * @property {string} name of the adapter that knows the notes
 * @property {number} budget of updates in a slice; the one that runs at its end is finished
 * @property {number} rest between two slices
 * @property {number} quiet without a change before the first slice
 * @property {() => string | undefined} wait why learning has to wait now
 * @property {() => Promise<string | undefined>} start the adapter that a new one starts from, where there is one
 * @property {{ read(): Memory, write(memory: Memory): void }} memory
 * @property {(progress: Progress) => void} show
 */

/** @typedef {ReturnType<import("./mos/index.js").Web["finetune"]> extends AsyncGenerator<infer Event> ? Event : never} RunEvent */

/**
 * Follows a run for a slice: it is stopped at the end of the budget, but not before its first update, without which the next slice
 * would get no further.
 *
 * @param {AsyncIterable<RunEvent>} events
 * @param {{ slice: AbortController, budget: number, follow: (event: RunEvent) => void }} options
 */
async function followSlice(events, { slice, budget, follow }) {
  let [began, updates, isOver] = [0, 0, false];
  const end = () => {
    isOver = true;
    if (updates > 0) slice.abort();
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    for await (const event of events) {
      if (event.type === "ready") {
        began = performance.now();
        timer = setTimeout(end, budget);
      }
      if (event.type === "step") {
        updates++;
        performance.measure("slice", { start: began, detail: { updates } });
        if (isOver) slice.abort();
      }
      follow(event);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Learns what it is given, when it may. */
export class Learner {
  /** @type {readonly Note[]} */
  #notes = [];
  #options;
  /** @type {Memory} */
  #memory;
  #slice = new AbortController();
  /** @type {Promise<void> | undefined} */
  #running;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #held = 0;
  #run = { update: 0, updates: 0 };
  /** @type {string | undefined} */
  #problem;

  /** @param {LearnerOptions} options */
  constructor(options) {
    this.#options = options;
    this.#memory = options.memory.read();
  }

  /**
   * Takes the notes as they are now.
   *
   * @param {readonly Note[]} notes
   */
  learn(notes) {
    this.#notes = notes;
    this.#problem = undefined;
    this.#slice.abort();
    this.wake();
  }

  /** Something has changed: goes on when nothing else does for a while. */
  wake(after = this.#options.quiet) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), after);
    this.#tell();
  }

  /** Ends the slice at once. */
  pause() {
    this.#slice.abort();
    this.#tell();
  }

  /** Begins again: the adapter that new ones start from is another one. */
  forget() {
    this.#remember({ learnt: [], run: undefined });
    this.wake();
  }

  /**
   * Does something else with the worker, which has memory for one thing at a time.
   *
   * @template Result
   * @param {() => Promise<Result>} work
   */
  async hold(work) {
    this.#held++;
    this.#slice.abort();
    try {
      await this.#running;
      return await work();
    } finally {
      this.#held--;
      this.wake();
    }
  }

  /** Notes, as they are now, that the adapter has learnt. */
  #known() {
    return this.#notes.filter((note) => this.#memory.learnt.includes(textOf(note))).length;
  }

  /** Whether it has learnt notes that were changed or removed, which an adapter cannot forget. */
  #knowsMore() {
    return this.#memory.learnt.length > this.#known();
  }

  #isDone() {
    return this.#known() === this.#notes.length && !this.#knowsMore();
  }

  #tell() {
    const { show, wait } = this.#options;
    const waits = this.#isDone() ? undefined : (this.#problem ?? wait());
    show({ learnt: this.#known(), notes: this.#notes.length, ...this.#run, waits });
  }

  /** @param {Memory} memory */
  #remember(memory) {
    this.#memory = memory;
    if (memory.run === undefined) this.#run = { update: 0, updates: 0 };
    this.#options.memory.write(memory);
  }

  async #tick() {
    const mayLearn = this.#held === 0 && this.#problem === undefined && this.#options.wait() === undefined;
    if (this.#running !== undefined || this.#isDone() || !mayLearn) return this.#tell();
    this.#running = this.#learnSlice().catch((error) => {
      const { learnt, run } = this.#memory;
      // a run whose files are gone, such as one of a browser that was cleared, begins again
      if (run === undefined) this.#problem = error instanceof Error ? error.message : String(error);
      this.#remember({ learnt, run: undefined });
    });
    await this.#running;
    this.#running = undefined;
    this.wake(this.#options.rest);
  }

  /** The run that comes next, and what it is known by. */
  async #planRun() {
    const { name, start } = this.#options;
    // further, over all notes, so that none is forgotten; or anew, so that nothing of a note that is gone stays
    const isFresh = this.#memory.learnt.length === 0 || this.#knowsMore();
    const first = isFresh ? await start() : name;
    return {
      key: JSON.stringify([first, this.#notes.map(textOf)]),
      adapter: first === undefined ? ADAPTER : { from: first },
      settings: { ...SETTINGS, epochs: isFresh ? PASSES.fresh : PASSES.further },
    };
  }

  async #learnSlice() {
    const { web, model, name, budget } = this.#options;
    const slice = new AbortController();
    this.#slice = slice;
    const notes = this.#notes;
    if (notes.length === 0) {
      await web.remove(name);
      return this.#remember({ learnt: [], run: undefined });
    }
    const { key, ...how } = await this.#planRun();
    const events = web.finetune({
      ...{ ...how, model, out: name, data: notes.flatMap(examplesOf), signal: slice.signal },
      ...(this.#memory.run === key ? { resume: true } : { overwrite: true, keepVersions: 0 }),
    });
    await followSlice(events, {
      slice,
      budget,
      follow: (event) => {
        if (event.type === "ready") this.#run = { update: event.step, updates: event.steps };
        if (event.type === "step") this.#run = { ...this.#run, update: event.step };
        if (event.type === "saved" && event.what === "checkpoint")
          this.#remember({ ...this.#memory, run: key });
        if (event.type === "finish") this.#remember({ learnt: notes.map(textOf), run: undefined });
        this.#tell();
      },
    });
  }
}
