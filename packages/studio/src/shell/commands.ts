// Commands that every view has.
import { useEffect } from "preact/hooks";
import { config, isSignedIn, signOut } from "#api";
import { href, navigate } from "#core";
import { type Command, chosenTheme, palette, useCommands } from "#ui";
import { VIEWS } from "#views";

/** Views that this server offers in its navigation, by name. */
export const offeredViews = () =>
  Object.entries(VIEWS).filter(
    ([, { icon, isOffered }]) =>
      icon !== undefined && (config.value === undefined || isOffered?.(config.value) !== false),
  );

const themes: readonly Command[] = (["auto", "light", "dark"] as const).map((theme) => ({
  id: `theme-${theme}`,
  title: theme === "auto" ? "Theme: system" : `Theme: ${theme}`,
  run: () => {
    chosenTheme.value = theme;
  },
}));

/** Registers them, and listens to keys. */
export function useShellCommands(): void {
  const views = offeredViews();
  const names = views.map(([name]) => name).join(" ");
  useCommands(
    () => [
      ...views.map(([name, { title, key }]) => ({
        id: `go-${name}`,
        title,
        ...(key === undefined ? {} : { keys: `g ${key}` }),
        run: () => navigate(href(name)),
      })),
      ...themes,
      ...(isSignedIn.value ? [{ id: "sign-out", title: "Sign out", run: signOut }] : []),
    ],
    [names, isSignedIn.value],
  );
  useEffect(() => {
    document.addEventListener("keydown", palette.onKeyDown);
    return () => document.removeEventListener("keydown", palette.onKeyDown);
  }, []);
}
