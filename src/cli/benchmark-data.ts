import { fetchBenchmark, type TaskName } from "#evaluation";
import type { Interrupt } from "./interrupt.ts";
import type { LiveLine } from "./progress.ts";
import { benchmarksOfUser, hubOfUser } from "./pull.ts";
import { pullProgress, shownResult } from "./pull-progress.ts";

/** Where the data of each task are: in the user's folder, or fetched before anything is asked. */
export async function findBenchmarks(
  { data, tasks }: { readonly data?: string | undefined; readonly tasks: readonly TaskName[] },
  { line, interrupt }: { readonly line: LiveLine; readonly interrupt: Interrupt },
): Promise<ReadonlyMap<TaskName, string>> {
  if (data !== undefined) return new Map(tasks.map((task) => [task, data]));
  const hub = await hubOfUser();
  const folders = new Map<TaskName, string>();
  const show = pullProgress(line, () => performance.now());
  for (const task of tasks) {
    const events = fetchBenchmark(task, { hub, folder: benchmarksOfUser(), signal: interrupt.signal });
    folders.set(task, await shownResult(events, show));
  }
  return folders;
}
