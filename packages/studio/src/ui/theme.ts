import { computed, effect, signal } from "@preact/signals";
import { stored } from "#core";

/** "auto" follows the system. */
type Theme = "auto" | "light" | "dark";

/** What the reader chose; it stays in this browser. */
export const chosenTheme = stored<Theme>("theme", "auto", (value): value is Theme =>
  ["auto", "light", "dark"].includes(String(value)),
);

const system = globalThis.matchMedia?.("(prefers-color-scheme: dark)");
const isSystemDark = signal(system?.matches === true);
system?.addEventListener("change", ({ matches }) => {
  isSystemDark.value = matches;
});

/** Whether the page is dark now, for what draws by itself. */
export const isDark = computed(() =>
  chosenTheme.value === "auto" ? isSystemDark.value : chosenTheme.value === "dark",
);

effect(() => {
  const root = globalThis.document?.documentElement;
  if (root === undefined) return;
  if (chosenTheme.value === "auto") delete root.dataset["theme"];
  else root.dataset["theme"] = chosenTheme.value;
});
