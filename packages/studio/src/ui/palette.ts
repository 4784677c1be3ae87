import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

/** Something that can be done from the command palette, and by a key of its own if it has one. */
export interface Command {
  readonly id: string;
  readonly title: string;
  /** One key, pressed outside of fields, such as `n`; or two in a row, such as `g r`. */
  readonly keys?: string;
  readonly run: () => void;
}

const commands = signal<readonly Command[]>([]);
const isOpen = signal(false);

/** Offers a command until the function that it returns is called. One of the same id takes its place. */
function register(command: Command): () => void {
  commands.value = [...commands.value.filter(({ id }) => id !== command.id), command];
  return () => {
    commands.value = commands.value.filter((other) => other !== command);
  };
}

/** Offers commands as long as a component is shown; made anew when one of `inputs` changes. */
export function useCommands(make: () => readonly Command[], inputs: readonly unknown[]): void {
  useEffect(() => {
    const removals = make().map(register);
    return () => {
      for (const remove of removals) remove();
    };
  }, inputs);
}

const SECOND_KEY_MS = 800;
let before = { key: "", at: 0 };

/** Boxes, switches and sliders take no letters. */
const TYPED = "textarea, select, input:not([type=checkbox], [type=radio], [type=range], [type=file])";

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || target.matches(TYPED));

/** Runs the command of a key; opens the palette for Ctrl or Cmd with K, and for a question mark. */
function onKeyDown(event: KeyboardEvent): void {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    isOpen.value = !isOpen.value;
    return;
  }
  const isOurs = !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;
  if (!isOurs || isTyping(event.target) || document.querySelector("dialog[open]") !== null) return;
  if (event.key === "?") {
    isOpen.value = true; // it shows the keys of all commands
    return;
  }
  const pair = event.timeStamp - before.at < SECOND_KEY_MS ? `${before.key} ${event.key}` : event.key;
  before = { key: event.key, at: event.timeStamp };
  const command = commands.value.find(({ keys }) => keys === pair || keys === event.key);
  if (command === undefined) return;
  event.preventDefault();
  before = { key: "", at: 0 };
  command.run();
}

/** Whether the letters of a search stand in a title in their order; the lower the number, the closer together. */
export function rank(title: string, search: string): number | undefined {
  const text = title.toLowerCase();
  const wanted = search.toLowerCase().replaceAll(/\s/g, "");
  const whole = text.indexOf(search.toLowerCase().trim());
  if (whole >= 0) return whole / 100;
  let at = -1;
  let gaps = 0;
  for (const letter of wanted) {
    const next = text.indexOf(letter, at + 1);
    if (next < 0) return undefined;
    if (at >= 0) gaps += next - at - 1;
    at = next;
  }
  return 1 + gaps;
}

/** Commands that a search finds, the closest first. */
export const findCommands = (all: readonly Command[], search: string): readonly Command[] =>
  all
    .flatMap((command) => {
      const distance = rank(command.title, search);
      return distance === undefined ? [] : [{ command, distance }];
    })
    .sort((a, b) => a.distance - b.distance)
    .map(({ command }) => command);

/** The command palette: what can be done, by name and by key. */
export const palette = { onKeyDown, isOpen, commands };
