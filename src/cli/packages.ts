// The packages of the paper's tables and of fine-tuning as a service. They depend on this one, which finds them at run time
// where they are installed.

import { MosError } from "#core";
import type { ServedModel, ServerExtension, ServerLog } from "#server";
import type { Command } from "./command.ts";

/** Where a service keeps its state, and who works for it. */
export interface ServiceOptions {
  readonly state: string | undefined;
  readonly databaseUrl: string | undefined;
  readonly storage: string | undefined;
  readonly workers: number;
  readonly sliceSeconds: number;
  readonly leaseSeconds: number;
  readonly stopSeconds: number;
  readonly stallSeconds: number;
  /** That webhooks of tenants may have. */
  readonly webhookPorts: readonly number[];
  /** Where models are also written for other servers, and what these call the base. */
  readonly peft: { readonly folder: string; readonly baseName: string } | undefined;
  /** The folder or file of the base. */
  readonly model: string;
  readonly threads: number;
  readonly log: ServerLog;
}

/** A service that is open. Disposing it ends its workers at a checkpoint. */
export interface Service extends AsyncDisposable {
  /** The folder where the models that it trains are served from. */
  readonly adapters: string;
  /** Ends the workers at a checkpoint; the API goes on. */
  stopWorkers(): Promise<void>;
  /** Starts the workers, and gives what the server gets of it. */
  start(model: ServedModel): Promise<ServerExtension>;
}

/** What the command line uses of each of their doors. */
interface Doors {
  readonly "reproduce/command": { readonly command: Command };
  readonly service: { readonly openService: (options: ServiceOptions) => Promise<Service> };
  readonly "service/command": { readonly command: Command };
}

/** @throws MosError `not_found` where the package is not installed. */
export async function importPackage<Door extends keyof Doors>(door: Door): Promise<Doors[Door]> {
  const name = `mixture-of-shards-${door.split("/")[0]}`;
  try {
    return await import(`mixture-of-shards-${door}`);
  } catch (cause) {
    const isMissing = cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND";
    // what the package itself imports has to be there
    if (!isMissing || !cause.message.includes(`'${name}'`)) throw cause;
    throw new MosError(
      "not_found",
      `this requires the package ${name}, which is not installed: npm install ${name}`,
      { cause },
    );
  }
}
