// Workers: they take slices, train them in a process of their own, and put the results where everyone finds them.
export { createTrainer, type Trainer } from "./trainer.ts";
export { runWorker, type WorkerLog, type WorkerOptions } from "./worker.ts";
