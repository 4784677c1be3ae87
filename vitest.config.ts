import { defineConfig } from "vitest/config";

/** Kills, fuzzing, hostile programs, load, whole runs: `npm run test:slow`. All others: `npm test`. */
const SLOW = ["src/**/*.slow.test.ts", "test/**/*.slow.test.ts", "packages/*/{src,test}/**/*.slow.test.ts"];

/** Packages that have a "source" of their own, in TypeScript that Node does not read, and what imports them. */
const SOURCES = [/node_modules\/(ai|@ai-sdk|eventsource-parser)\//];

interface Tier {
  readonly include: string[];
  readonly exclude?: string[];
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
    // the default leaves one core idle, which is half of a small machine
    maxWorkers: "100%",
    projects: [
      tier("fast", {
        include: ["src/**/*.test.ts", "test/**/*.test.ts", "packages/*/{src,test}/**/*.test.ts"],
        exclude: SLOW,
        seconds: 60,
      }),
      tier("slow", { include: SLOW, seconds: 300 }),
    ],
  },
});
