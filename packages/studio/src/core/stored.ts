import { effect, type Signal, signal } from "@preact/signals";

const read = (key: string): unknown => {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
};

/** The set with an item that it lacks, or without one that it has. */
export const toggled = <T>(items: ReadonlySet<T>, item: T): ReadonlySet<T> =>
  items.has(item) ? new Set([...items].filter((other) => other !== item)) : new Set([...items, item]);

/** Gives a signal a value, where an assignment is no expression. */
export function set<T>(to: { value: T }, value: T): void {
  to.value = value;
}

/**
 * A signal whose value stays in this browser. `isValid` looks at what an older page may have left. Where the browser stores
 * nothing, as in some private windows, the value lasts as long as the page.
 */
export function stored<T>(name: string, first: T, isValid: (value: unknown) => value is T): Signal<T> {
  const key = `mos.${name}`;
  const found = read(key);
  const value = signal<T>(isValid(found) ? found : first);
  effect(() => {
    const text = JSON.stringify(value.value);
    try {
      localStorage.setItem(key, text);
    } catch {}
  });
  return value;
}

/** A switch whose position stays in this browser. */
export const storedFlag = (name: string, first: boolean): Signal<boolean> =>
  stored(name, first, (value): value is boolean => typeof value === "boolean");
