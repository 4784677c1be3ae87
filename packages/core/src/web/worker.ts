// The worker of a page: its first call says what runs where, all others are the library's.

import type { RuntimeSource } from "mixture-of-shards-graph/web";
import { z } from "zod";
import { type CallContext, type Methods, MosError, serveCalls } from "#common";
import { type Port, portChannel } from "./channel.ts";
import { chooseDevice, type WebDevice } from "./device.ts";
import { openHost } from "./host.ts";
import { explainFull, openStorage } from "./storage.ts";

// the policy of a page may forbid functions made of text, and reports each attempt
z.config({ jitless: true });

/** What the page asks for. */
interface OpenOptions extends Pick<RuntimeSource, "threads" | "url"> {
  readonly device: WebDevice | "auto";
}

let methods: Methods | undefined;

async function open({ device: wanted, ...options }: OpenOptions) {
  const isKept = await openStorage();
  const chosen = await chooseDevice(wanted);
  methods = openHost({ ...options, ...chosen });
  return { isKept, device: chosen.device };
}

/** What a page calls: first of all `open`. */
export type WorkerMethods = ReturnType<typeof openHost> & { readonly open: typeof open };

async function run(name: string, argument: never, context: CallContext<unknown>): Promise<unknown> {
  const method = name === "open" ? open : methods?.[name];
  if (method === undefined) throw new MosError("bad_option", `the worker has no method ${name}`);
  try {
    return await method(argument, context as never);
  } catch (error) {
    throw await explainFull(error);
  }
}

serveCalls(portChannel(globalThis as unknown as Port), run);
