import { type BaseModel, loadModel, locateModel } from "#recipes";
import { given } from "./option-values.ts";
import { formatBar } from "./progress.ts";
import { hubOfUser } from "./pull.ts";
import { pullProgress, shownResult } from "./pull-progress.ts";
import { liveLine } from "./terminal.ts";

export interface OpenBaseOptions {
  readonly signal?: AbortSignal | undefined;
  readonly silent?: boolean;
}

/** The folder or file of a model, downloaded if it has to be. */
export async function findModel(
  model: string,
  { signal, silent = false }: OpenBaseOptions = {},
): Promise<string> {
  using line = liveLine({ silent });
  const show = pullProgress(line, () => performance.now());
  return await shownResult(locateModel(model, { hub: await hubOfUser(), ...given({ signal }) }), show);
}

/** Loads a model, with a line that shows how far it is where that takes a while. */
export async function openBase(model: string, options: OpenBaseOptions = {}): Promise<BaseModel> {
  const path = await findModel(model, options);
  const started = performance.now();
  using line = liveLine({ silent: options.silent === true || process.stderr.isTTY !== true });
  return await loadModel(path, {
    signal: options.signal,
    onProgress: ({ done, total }) => {
      if (performance.now() - started > 500)
        line.update(`loading ${formatBar(done / total, 24)} ${done} of ${total} weights`);
    },
  });
}
