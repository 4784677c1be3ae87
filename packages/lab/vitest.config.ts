// The tests of this package alone: `npx vitest run --project fast` here.
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import whole, { tiers } from "../../vitest.config.ts";

// the bundled model and the fixtures are named from the repository's root
process.chdir(join(import.meta.dirname, "../.."));

export default defineConfig({
  test: { ...whole.test, root: import.meta.dirname, projects: tiers(["{src,test}/**/*.test.ts"]) },
});
