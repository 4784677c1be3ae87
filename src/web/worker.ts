// The worker of a page: its first call says what runs where, all others are the library's.
import { z } from "zod";
import { MosError } from "#core";
import { nextTurn } from "#platform";
import { type HostOptions, openHost } from "./host.ts";
import { type Answer, type CallRequest, type Channel, type Methods, result, serveCalls } from "./protocol.ts";
import { openStorage } from "./storage.ts";

// the policy of a page may forbid functions made of text, and reports each attempt
z.config({ jitless: true });

let methods: Methods = {
  open: (options: HostOptions) =>
    result(async () => {
      const isKept = await openStorage();
      methods = openHost(options);
      return { isKept };
    }),
};

function answer({ method, argument }: CallRequest, signal: AbortSignal): Answer {
  const run = methods[method];
  if (run === undefined) throw new MosError("bad_option", `the worker has no method ${method}`);
  return run(argument as never, signal);
}

serveCalls(globalThis as unknown as Channel, answer, nextTurn);
