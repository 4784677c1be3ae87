// A comparison as it goes on: a conversation, the answers of each model, and what is thought of them.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { countOf } from "#core";
import { type Answer, isUsable, NO_ANSWER } from "./answer.ts";
import { type Message, toMessages } from "./messages.ts";
import { createRunner, type World } from "./runner.ts";
import { NO_SETTINGS, readTools, type Settings, toRequest } from "./settings.ts";
import type { Comparison } from "./share.ts";
import type { Vote } from "./votes.ts";

/** What a person wrote, and the answers to it. */
export interface Turn {
  readonly user: string;
  /** The seed of all its answers. */
  readonly seed: number;
  /** By model. */
  readonly answers: ReadonlyMap<string, Signal<Answer>>;
  /** The vote on it, once there is one. */
  readonly vote: Signal<Vote | undefined>;
}

/** A pane: a model in its place, under the name that may be shown. */
export interface Pane {
  readonly model: string;
  readonly name: string;
}

/** What a comparison needs of the world around it; `drawSeed` gives a new seed. */
type SessionWorld = World & { readonly drawSeed: () => number };

const PLACE_SEEDS = 2 ** 31;

/** Numbers of [0, 1) that a seed decides (Mulberry32). */
function randomBySeed(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The items in an order that the seed decides; each order is equally likely. */
export function shuffle<T>(items: readonly T[], seed: number): readonly T[] {
  const random = randomBySeed(seed);
  const shuffled = [...items];
  for (let left = shuffled.length; left > 1; left--) {
    const [taken] = shuffled.splice(Math.floor(random() * left), 1);
    if (taken !== undefined) shuffled.push(taken);
  }
  return shuffled;
}

/** The name of a pane whose model is not to be known: A, B, … */
export const letter = (index: number): string => String.fromCharCode(65 + index);

/** A comparison as it goes on. */
export class Conversation {
  readonly models = signal<readonly string[]>([]);
  readonly settings = signal<Settings>(NO_SETTINGS);
  readonly turns = signal<readonly Turn[]>([]);
  /** Panes are shuffled and have letters until there is a vote. */
  readonly isBlind = signal(false);
  readonly isRevealed = signal(true);
  /** What has ended since something was asked last, for those who do not see it. */
  readonly ends = signal<readonly string[]>([]);
  readonly isHidden = computed(() => this.isBlind.value && !this.isRevealed.value);
  readonly panes: ReadonlySignal<readonly Pane[]>;
  readonly isRunning: ReadonlySignal<boolean>;
  readonly #placeSeed = signal(0);
  readonly #world: SessionWorld;
  readonly #runner: ReturnType<typeof createRunner>;
  #ended = new AbortController();

  constructor(world: SessionWorld) {
    this.#world = world;
    this.#runner = createRunner(world);
    this.isRunning = computed(() => this.#runner.running.value > 0);
    this.panes = computed(() => {
      if (!this.isBlind.value) return this.models.value.map((model) => ({ model, name: model }));
      const places = shuffle(this.models.value, this.#placeSeed.value);
      return places.map((model, i) => ({ model, name: this.isHidden.value ? letter(i) : model }));
    });
  }

  /** Asks all models. */
  async send(user: string): Promise<void> {
    await this.#ask(this.turns.value.length, user);
  }

  /** Asks again with another text, or with the same one. Later turns are dropped: they followed other answers. */
  async edit(index: number, user: string): Promise<void> {
    this.stop();
    await this.#ask(index, user);
  }

  async #ask(index: number, user: string): Promise<void> {
    if (index === 0) this.#shuffle();
    const seed = this.settings.value.seed ?? this.#world.drawSeed();
    const answers = new Map(this.models.value.map((model) => [model, signal(NO_ANSWER)]));
    const turn: Turn = { user, seed, answers, vote: signal(undefined) };
    this.turns.value = [...this.turns.value.slice(0, index), turn];
    this.ends.value = [];
    await Promise.all(this.models.value.map((model) => this.catchUp(model)));
  }

  #shuffle(): void {
    this.#placeSeed.value = this.#world.drawSeed() % PLACE_SEEDS;
    this.isRevealed.value = !this.isBlind.value;
  }

  /** Asks a model for what it has not answered, or not well: after a failure, or in the place of another model. */
  async catchUp(model: string): Promise<void> {
    const { turns, settings } = this;
    const ended = this.#ended.signal;
    for (const [i, { answers, seed }] of turns.value.entries()) {
      const answer = answers.get(model);
      if (answer === undefined || isUsable(answer.value)) continue;
      const messages = this.#messages(model, i, settings.value.system);
      await this.#runner.run(answer, toRequest(settings.value, { model, messages, seed }), ended);
      this.#announce(model, answer.value);
      if (!isUsable(answer.value)) return;
    }
  }

  #announce(model: string, { status, count, problem }: Answer): void {
    if (status === "stopped") return;
    const name = this.nameOf(model);
    const end = status === "failed" ? `failed: ${problem?.message}` : `finished, ${countOf(count, "token")}`;
    this.ends.value = [...this.ends.value, `${name} ${end}`];
  }

  /** The name under which a model may be shown. */
  nameOf(model: string): string {
    return this.panes.value.find((pane) => pane.model === model)?.name ?? model;
  }

  /** What a model is sent for a turn. */
  #messages(model: string, index: number, system: string): readonly Message[] {
    const before = this.turns.value.slice(0, index + 1);
    const exchanges = before.map(({ user, answers }, i) => ({
      user,
      answer: i === index ? undefined : answers.get(model)?.value,
    }));
    return toMessages(system, exchanges);
  }

  /** Asks the same once more, as for log-probabilities: with the same seed, the answers are the same. */
  async again({ answers }: Turn): Promise<void> {
    this.stop();
    this.ends.value = [];
    for (const answer of answers.values()) answer.value = NO_ANSWER;
    await Promise.all([...answers.keys()].map((model) => this.catchUp(model)));
  }

  /** Ends all streams. What has come stays. */
  stop(): void {
    this.#ended.abort();
    this.#ended = new AbortController();
  }

  /** Shuffles the panes and hides whose they are, before something is asked; answers that are there have been seen. */
  setBlind(isBlind: boolean): void {
    this.isBlind.value = isBlind;
    this.isRevealed.value = !isBlind || this.turns.value.length > 0;
  }

  /** Begins anew. Models and settings stay. */
  clear(): void {
    this.stop();
    this.turns.value = [];
    this.ends.value = [];
    this.isRevealed.value = true;
  }

  /** Compares other models. New ones are asked all that was asked so far. */
  async choose(models: readonly string[]): Promise<void> {
    const added = models.filter((model) => !this.models.value.includes(model));
    this.turns.value = this.turns.value.map((turn) => {
      const answers = new Map(models.map((model) => [model, turn.answers.get(model) ?? signal(NO_ANSWER)]));
      return { ...turn, answers };
    });
    this.models.value = models;
    await Promise.all(added.map((model) => this.catchUp(model)));
  }

  /** Judges the answers to a turn, and shows whose they are. */
  vote(turn: Turn, verdict: Vote["verdict"], at: number): Vote {
    const { system, mode, tools } = this.settings.value;
    const index = this.turns.value.indexOf(turn);
    const before = this.turns.value.slice(0, index + 1);
    const candidates = this.panes.value.map(({ model }) => ({
      model,
      messages: toMessages(
        mode === "chat" ? system : "",
        before.map(({ user, answers }) => ({ user, answer: answers.get(model)?.value })),
      ),
    }));
    const vote = {
      at,
      mode,
      isBlind: this.isHidden.value,
      candidates,
      verdict,
      tools: readTools(tools).value,
    };
    turn.vote.value = vote;
    this.isRevealed.value = true;
    return vote;
  }

  /** All of it, to be saved. */
  toComparison(): Comparison {
    const turns = this.turns.value.map(({ user, seed, answers }) => ({
      user,
      seed,
      answers: [...answers].map(([model, answer]) => ({ model, answer: answer.value })),
    }));
    return { models: this.models.value, settings: this.settings.value, turns };
  }

  /** Shows a comparison that was saved, as it was. */
  open({ models, settings, turns }: Comparison): void {
    this.clear();
    this.models.value = models;
    this.settings.value = settings;
    this.turns.value = turns.map(({ user, seed, answers }) => {
      const saved = new Map(answers.map(({ model, answer }) => [model, answer]));
      return {
        user,
        seed,
        answers: new Map(models.map((model) => [model, signal(saved.get(model) ?? NO_ANSWER)])),
        vote: signal(undefined),
      };
    });
  }
}

/** Whether all answers to a turn can be judged. */
export const canVote = ({ answers }: Turn): boolean =>
  answers.size > 1 && [...answers.values()].every(({ value }) => isUsable(value));
