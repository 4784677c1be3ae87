// All runs, page by page.
import { api, type Run } from "#api";

/** Runs that a request returns at most. */
const PAGE = 1000;

/** The newest runs in so many pages, and whether there are older ones. */
export interface RunList {
  readonly runs: readonly Run[];
  readonly hasMore: boolean;
}

export async function readRuns(pages: number, signal: AbortSignal): Promise<RunList> {
  const runs: Run[] = [];
  let after: string | undefined;
  let hasMore = true;
  for (let page = 0; page < pages && hasMore; page++) {
    const read = await api.get("/v1/runs", { query: { limit: PAGE, after }, signal });
    runs.push(...read.data);
    hasMore = read.has_more;
    after = read.last_id ?? undefined;
  }
  return { runs, hasMore };
}
