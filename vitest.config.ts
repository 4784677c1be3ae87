import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Packages that have a "source" of their own, in TypeScript that Node does not read, and what imports them. */
const SOURCES = [/node_modules\/(ai|@ai-sdk|eventsource-parser)\//];

interface Tier {
  readonly include: string[];
  readonly exclude?: string[];
  /** Whether each file has a process of its own; the others share one for each worker, and what it has loaded. */
  readonly isolate: boolean;
  /** Node's options for these processes. */
  readonly execArgv?: string[];
  readonly setupFiles?: string[];
  readonly globalSetup?: string[];
  /** Seconds that one test may take. */
  readonly seconds: number;
}

const tier = (name: string, { seconds, ...files }: Tier) => ({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "default"] } },
  test: {
    name,
    ...files,
    server: { deps: { inline: SOURCES } },
    // a machine that is busy with other work fails no test
    expect: { poll: { timeout: 500 * seconds, interval: 10 } },
    testTimeout: 1000 * seconds,
    hookTimeout: 1000 * seconds,
  },
});

/** Tests of the studio in a real browser: `npm run test:studio`. */
const BROWSER = ["packages/studio/test/**/*.browser.test.ts"];

/** Tests of the library in a page: `npm run test:browser`. */
const WEB = ["packages/core/test/web/**/*.web.test.ts"];

/** Two tiers of tests: fast ones, and kills, fuzzing, hostile programs, load and whole runs (`npm run test:slow`). */
export function tiers(tests: readonly string[]) {
  const slow = tests.map((pattern) => pattern.replace(".test.ts", ".slow.test.ts"));
  return [
    tier("fast", {
      include: [...tests],
      exclude: [...slow, ...BROWSER, ...WEB],
      isolate: false,
      // code is optimised when it has run far longer than by default: most of a test's never pays for that (V8 of Node 20)
      execArgv: process.version.startsWith("v20.") ? ["--interrupt-budget=1000000"] : [],
      setupFiles: [join(import.meta.dirname, "test/setup.ts")],
      globalSetup: [join(import.meta.dirname, "test/bundle-children.ts")],
      seconds: 60,
    }),
    tier("slow", { include: slow, isolate: true, seconds: 300 }),
  ];
}

export default defineConfig({
  test: {
    // a tier may be empty in a filtered run
    passWithNoTests: true,
    tags: [
      { name: "thorough", description: "further cases of what a fast test decides: `npm run test:all`" },
    ],
    // the default leaves one core idle, which is half of a small machine
    maxWorkers: "100%",
    projects: [
      ...tiers(["test/**/*.test.ts", "packages/*/{src,test}/**/*.test.ts"]),
      tier("browser", {
        include: BROWSER,
        isolate: false,
        globalSetup: [join(import.meta.dirname, "packages/studio/test/chromium.ts")],
        seconds: 180,
      }),
      tier("web", {
        include: WEB,
        isolate: false,
        globalSetup: [join(import.meta.dirname, "packages/core/test/web/setup.ts")],
        seconds: 900,
      }),
    ],
  },
});
