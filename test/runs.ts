// How many cases a property is tried with: a quarter of them in `npm test`, all in `npm run test:all`.
export const runs = (all: number): number =>
  process.env["MOS_TEST_RUNS"] === "all" ? all : Math.ceil(all / 4);

/** Every fourth of cases that each show the same of another size in `npm test`, all in `npm run test:all`. */
export const some = <T>(all: readonly T[]): readonly T[] => all.filter((_, i) => i % (4 / runs(4)) === 0);
