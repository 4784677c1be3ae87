// The entry of the engine's process, so that steps block only that process. open-engine.ts is the other side.
import type { CallContext } from "#common";
import { serveParent } from "#process";
import type { CoreListener, EngineCore } from "./engine-core.ts";
import type { CoreOptions, OpenProgress } from "./engine-options.ts";
import { type OpenedCore, openCore } from "./open-core.ts";
import type { FullRequest } from "./types.ts";

/** One output for each step, with what happened to all requests, or a change of the adapters' folder. */
type CoreReport =
  | { readonly output: Parameters<CoreListener["onOutput"]> }
  | { readonly adapters: Parameters<CoreListener["onAdapters"]> };

// called after `open`
let core: EngineCore;

const methods = {
  open: async (
    settings: CoreOptions,
    { emit, signal }: CallContext<OpenProgress>,
  ): Promise<Omit<OpenedCore, "core">> => {
    const { core: opened, ...facts } = await openCore(settings, { onProgress: emit, signal });
    core = opened;
    return facts;
  },
  run: async (_: undefined, { emit }: CallContext<CoreReport>): Promise<void> => {
    core.start({
      onOutput: (updates) => {
        const sent = updates.map(({ error, ...update }) =>
          error === undefined ? update : { ...update, error: { code: error.code, message: error.message } },
        );
        emit({ output: [sent] });
      },
      onAdapters: (...adapters) => emit({ adapters }),
    });
    await core.closed;
  },
  setGrammar: ({ digest, grammar }: { readonly digest: string; readonly grammar: Uint8Array | undefined }) =>
    core.setGrammar(digest, grammar),
  submit: ({ id, request }: { readonly id: number; readonly request: FullRequest }) =>
    core.submit(id, request),
  cancel: (id: number) => core.cancel(id),
  stats: () => core.stats(),
  refresh: () => core.refreshAdapters(),
  close: () => core[Symbol.asyncDispose](),
};

export type EngineMethods = typeof methods;
serveParent(methods);
