// How many cases a property is tried with: a quarter of them in `npm test`, all in `npm run test:all`.
export const runs = (all: number): number =>
  process.env["MOS_TEST_RUNS"] === "all" ? all : Math.ceil(all / 4);
