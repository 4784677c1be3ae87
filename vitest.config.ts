import { defineConfig } from "vitest/config";

const ALL = ["src/**/*.test.ts", "test/**/*.test.ts", "packages/*/{src,test}/**/*.test.ts"];

/** Kills, fuzzing, hostile programs, load, whole runs: `npm run test:slow`. */
const SLOW = ALL.map((pattern) => pattern.replace(".test.ts", ".slow.test.ts"));

/** Packages that have a "source" of their own, in TypeScript that Node does not read, and what imports them. */
const SOURCES = [/node_modules\/(ai|@ai-sdk|eventsource-parser)\//];

interface Tier {
  readonly include: string[];
  readonly exclude?: string[];
  /** Whether each file has a process of its own; the others share one for each worker, and what it has loaded. */
  readonly isolate: boolean;
  readonly setupFiles?: string[];
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
    testTimeout: 1000 * seconds,
    hookTimeout: 1000 * seconds,
  },
});

export default defineConfig({
  test: {
    // a tier may be empty in a filtered run
    passWithNoTests: true,
    tags: [
      { name: "thorough", description: "further cases of what a fast test decides: `npm run test:thorough`" },
    ],
    // the default leaves one core idle, which is half of a small machine
    maxWorkers: "100%",
    projects: [
      tier("fast", {
        include: ALL,
        exclude: SLOW,
        isolate: false,
        setupFiles: ["test/setup.ts"],
        seconds: 60,
      }),
      tier("slow", { include: SLOW, isolate: true, seconds: 300 }),
    ],
  },
});
