// The worker of a page: its first call says what runs where, all others are the library's.
import { z } from "zod";
import { MosError } from "#core";
import { nextTurn } from "#platform";
import type { RuntimeSource } from "#session-web";
import { chooseDevice, type WebDevice } from "./device.ts";
import { openHost } from "./host.ts";
import { type Answer, type CallRequest, type Channel, type Methods, result, serveCalls } from "./protocol.ts";
import { explainFull, openStorage } from "./storage.ts";

// the policy of a page may forbid functions made of text, and reports each attempt
z.config({ jitless: true });

/** What the page asks for. */
interface OpenOptions extends Pick<RuntimeSource, "threads" | "url"> {
  readonly device: WebDevice | "auto";
}

let methods: Methods = {
  open: ({ device: wanted, ...options }: OpenOptions) =>
    result(async () => {
      const isKept = await openStorage();
      const chosen = await chooseDevice(wanted);
      methods = openHost({ ...options, ...chosen });
      return { isKept, device: chosen.device };
    }),
};

async function* answer({ method, argument }: CallRequest, signal: AbortSignal): Answer {
  const run = methods[method];
  if (run === undefined) throw new MosError("bad_option", `the worker has no method ${method}`);
  try {
    return yield* run(argument as never, signal);
  } catch (error) {
    throw await explainFull(error);
  }
}

serveCalls(globalThis as unknown as Channel, answer, nextTurn);
