// Workers: they take slices, train them in a process of their own, and put the results where everyone finds them. Previews of
// runs, checks of files and conversions have such processes, too.

export { createFileChecker, createPreviewer, createTurns, startTasks } from "./tasks.ts";
export { runWorker } from "./worker.ts";
