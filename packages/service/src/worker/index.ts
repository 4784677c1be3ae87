// Workers: they take slices, train them in a process of their own, and put the results where everyone finds them.
export { runWorker } from "./worker.ts";
