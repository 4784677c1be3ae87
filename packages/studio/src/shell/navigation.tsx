import { useEffect } from "preact/hooks";
import { config, isSignedIn, signOut } from "#api";
import { href, navigate, route, set } from "#core";
import { type Command, chosenTheme, Icon, IconButton, isDark, palette, useCommands } from "#ui";
import { VIEWS } from "#views";
import "./shell.css";

/** Views that this server offers in its navigation, by name. */
const offeredViews = () =>
  Object.entries(VIEWS).filter(
    ([, { icon, isOffered }]) =>
      icon !== undefined && (config.value === undefined || isOffered?.(config.value) !== false),
  );

const themes: readonly Command[] = (["auto", "light", "dark"] as const).map((theme) => ({
  id: `theme-${theme}`,
  title: theme === "auto" ? "Theme: system" : `Theme: ${theme}`,
  run: () => set(chosenTheme, theme),
}));

/** Registers the commands that every view has, and listens to keys. */
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

/** The part of the navigation that a view lies in: one run is among all runs. */
const placeOf = (view: string): string => (view === "run" ? "runs" : view);

/** The way from view to view: at the side, or below on a narrow window. */
export function Navigation() {
  const place = placeOf(route.value.view);
  return (
    <nav class="navigation" aria-label="Views">
      <a class="beside brand" href={href("runs")}>
        <Mark />
        <span class="brand-text">
          <strong>Studio</strong>
          <span class="muted small cut" title={config.value?.model}>
            {config.value?.model ?? " "}
          </span>
        </span>
      </a>
      <ul class="stack">
        {offeredViews().map(([name, { title, icon, isMinor }]) => (
          <li key={name} class={isMinor === true ? "minor" : undefined}>
            <a
              class="beside"
              href={href(name)}
              aria-current={name === place ? "page" : undefined}
              title={title}
            >
              {icon && <Icon name={icon} />}
              <span>{title}</span>
            </a>
          </li>
        ))}
      </ul>
      <div class="beside navigation-end">
        <button type="button" class="beside search" title="Commands (Ctrl K)" onClick={openPalette}>
          <Icon name="search" />
          <span>Commands</span>
          <kbd>{isMac ? "⌘ K" : "Ctrl K"}</kbd>
        </button>
        <ThemeButton />
        {isSignedIn.value && <IconButton label="Sign out" icon="signOut" onClick={signOut} />}
      </div>
    </nav>
  );
}

const isMac = navigator.platform.startsWith("Mac");

const openPalette = (): void => set(palette.isOpen, true);

function ThemeButton() {
  const next = isDark.value ? "light" : "dark";
  return (
    <IconButton
      label={next === "dark" ? "Dark theme" : "Light theme"}
      icon={next}
      onClick={() => set(chosenTheme, next)}
    />
  );
}

/** The mark: shards of two pools. */
const Mark = () => (
  <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
    <path d="M3 4h8v4H3zM3 10h5v4H3zM3 16h8v4H3zM18 10h3v4h-3z" />
    <path class="second" d="M13 4h8v4h-8zM10 10h6v4h-6zM13 16h8v4h-8z" />
  </svg>
);
