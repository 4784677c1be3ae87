// Workers: they take slices, train them in a process of their own, and put the results where everyone finds them. Previews of
// runs have such processes, too.

export { createPreviewer } from "./preview.ts";
export { runWorker } from "./worker.ts";
