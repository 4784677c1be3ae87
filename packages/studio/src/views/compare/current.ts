// The comparison of this page: it goes on while other views are shown.
import { computed, signal } from "@preact/signals";
import { api } from "#api";
import { set, stored } from "#core";
import { Conversation } from "./conversation.ts";
import { nextFrame } from "./runner.ts";
import { checkSettings, type Settings } from "./settings.ts";

export const session = new Conversation({
  stream: ({ path, body }, signal) => api.stream(path, { body, signal }),
  now: () => performance.now(),
  schedule: nextFrame,
  drawSeed: () => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0,
});

/** What is wrong with the settings. */
export const settingProblems = computed(() => checkSettings(session.settings.value));

/** What is written, but not sent. */
export const draft = signal("");

/** What panes show of an answer. */
export const READINGS = [
  { value: "text", title: "Text" },
  { value: "differences", title: "Differences" },
  { value: "probabilities", title: "Probabilities" },
] as const;

export type Reading = (typeof READINGS)[number]["value"];

export const reading = stored<Reading>("compare.reading", "text", (value): value is Reading =>
  READINGS.some((known) => known.value === value),
);
session.settings.value = { ...session.settings.value, logprobs: reading.value === "probabilities" };

export const change = (settings: Partial<Settings>): void =>
  set(session.settings, { ...session.settings.value, ...settings });

/** Shows answers in another way; probabilities have to be asked for. */
export function read(value: Reading): void {
  reading.value = value;
  change({ logprobs: value === "probabilities" });
}
