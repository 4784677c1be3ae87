// The views, each loaded when it is first shown.
import type { ComponentType } from "preact";
import type { Config } from "#api";
import type { ViewProps } from "#core";
import type { IconName } from "#ui";

/** A view, and its place in the navigation. */
export interface ViewEntry {
  readonly title: string;
  readonly icon?: IconName;
  /** The second key after `g`. */
  readonly key?: string;
  /** Left to the command palette where there is no room for all. */
  readonly isMinor?: boolean;
  readonly load: () => Promise<{ readonly default: ComponentType<ViewProps> }>;
  /** Whether this server has what the view shows; without it, always. */
  readonly isOffered?: (config: Config) => boolean;
}

/** Views by their name in the address. Those with an icon are in the navigation. */
export const VIEWS: Readonly<Record<string, ViewEntry>> = {
  runs: { title: "Runs", icon: "runs", key: "r", load: () => import("./runs/index.tsx") },
  run: { title: "Run", load: () => import("./run/index.tsx") },
  "new-run": {
    title: "New run",
    icon: "plus",
    key: "n",
    load: () => import("./new-run/index.tsx"),
    isOffered: ({ features }) => features.service,
  },
  compare: { title: "Compare", icon: "compare", key: "c", load: () => import("./compare/index.tsx") },
  adapters: { title: "Adapters", icon: "adapters", key: "a", load: () => import("./adapters/index.tsx") },
  lessons: {
    title: "Lessons",
    icon: "lessons",
    key: "l",
    isMinor: true,
    load: () => import("./lessons/index.tsx"),
    isOffered: ({ features }) => features.service,
  },
  system: {
    title: "System",
    icon: "system",
    key: "s",
    isMinor: true,
    load: () => import("./system/index.tsx"),
  },
  keys: {
    title: "Keys",
    icon: "keys",
    key: "k",
    isMinor: true,
    load: () => import("./keys/index.tsx"),
    isOffered: ({ features }) => features.keys,
  },
};
