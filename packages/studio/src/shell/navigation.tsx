import { config, isSignedIn, signOut } from "#api";
import { href, route } from "#core";
import { chosenTheme, Icon, IconButton, isDark, palette } from "#ui";
import { offeredViews } from "./commands.ts";
import "./navigation.css";

/** The part of the navigation that a view lies in: one run is among all runs. */
const placeOf = (view: string): string => (view === "run" ? "runs" : view);

/** The way from view to view: at the side, or below on a narrow window. */
export function Navigation() {
  const place = placeOf(route.value.view);
  return (
    <nav class="navigation" aria-label="Views">
      <a class="brand" href={href("runs")}>
        <Mark />
        <span class="brand-text">
          <strong>Studio</strong>
          <span class="muted" title={config.value?.model}>
            {config.value?.model ?? " "}
          </span>
        </span>
      </a>
      <ul>
        {offeredViews().map(([name, { title, icon, isMinor }]) => (
          <li key={name} class={isMinor === true ? "minor" : undefined}>
            <a href={href(name)} aria-current={name === place ? "page" : undefined} title={title}>
              {icon && <Icon name={icon} />}
              <span>{title}</span>
            </a>
          </li>
        ))}
      </ul>
      <div class="navigation-end">
        <button type="button" class="search" title="Commands (Ctrl K)" onClick={openPalette}>
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

const openPalette = (): void => {
  palette.isOpen.value = true;
};

function ThemeButton() {
  const next = isDark.value ? "light" : "dark";
  return (
    <IconButton
      label={next === "dark" ? "Dark theme" : "Light theme"}
      icon={next}
      onClick={() => {
        chosenTheme.value = next;
      }}
    />
  );
}

/** The mark: shards of two pools. */
const Mark = () => (
  <svg class="mark" viewBox="0 0 24 24" aria-hidden="true">
    <path class="first" d="M3 4h8v4H3zM3 10h5v4H3zM3 16h8v4H3zM18 10h3v4h-3z" />
    <path class="second" d="M13 4h8v4h-8zM10 10h6v4h-6zM13 16h8v4h-8z" />
  </svg>
);
