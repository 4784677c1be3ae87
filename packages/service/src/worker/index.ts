// Workers: they take slices, train them in a process of their own, and put the results where everyone finds them. Previews of
// runs, checks of files, gradings and conversions have such processes, too.

export type { PreviewRequest } from "./task-process.ts";
export {
  createFileChecker,
  createGrading,
  createPreviewer,
  type Grading,
  startTasks,
  type TaskChild,
} from "./tasks.ts";
export { createTurns, type TurnClient } from "./turns.ts";
export { runWorker } from "./worker.ts";
