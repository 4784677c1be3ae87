import { defineConfig } from "vitest/config";

/** Kills, fuzzing, hostile programs, load, whole runs: `npm run test:slow`. All others: `npm test`. */
const SLOW = ["src/**/*.slow.test.ts", "test/**/*.slow.test.ts", "packages/*/{src,test}/**/*.slow.test.ts"];

const tier = (name: string, files: { readonly include: string[]; readonly exclude?: string[] }) => ({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "default"] } },
  test: { name, ...files, testTimeout: 60_000, hookTimeout: 60_000 },
});

export default defineConfig({
  test: {
    // a tier may be empty in a filtered run
    passWithNoTests: true,
    projects: [
      tier("fast", {
        include: ["src/**/*.test.ts", "test/**/*.test.ts", "packages/*/{src,test}/**/*.test.ts"],
        exclude: SLOW,
      }),
      tier("slow", { include: SLOW }),
    ],
  },
});
