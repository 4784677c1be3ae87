// What the server says of itself before anybody signs in.
import { signal } from "@preact/signals";
import { api } from "./client.ts";
import { isRefused, isSignedIn, needsKey } from "./session.ts";

/** What this server can do, and for whom. */
export interface Config {
  /** The base's name in requests. */
  readonly model: string;
  readonly version: string;
  readonly features: {
    /** Whether it takes files and fine-tuning jobs. */
    readonly service: boolean;
    readonly runs: boolean;
    /** Whether keys are kept in a file that can be changed. */
    readonly keys: boolean;
    readonly adapters: boolean;
  };
  /** Whether requests need a key. */
  readonly needsKey: boolean;
  /** Whose session this is; null where there are no keys. */
  readonly tenant: string | null;
  /** Whether everybody's runs and the system may be seen. */
  readonly isAdmin: boolean;
  /** Whether it offers the quickstart's data. */
  readonly example: boolean;
}

/** Undefined until it is known. */
export const config = signal<Config | undefined>(undefined);

/** Whether this server takes files and fine-tuning jobs. */
export const hasService = (): boolean => config.value?.features.service === true;

/** Reads it again, as after signing in. */
export async function loadConfig(): Promise<void> {
  const found = await api.send("GET", "./config.json");
  const {
    signedIn,
    isRefused: isOver,
    ...known
  } = found as Config & { signedIn: boolean; isRefused: boolean };
  isSignedIn.value = signedIn;
  isRefused.value = isOver;
  // before the first view asks in vain
  needsKey.value = known.needsKey && !signedIn;
  config.value = known;
}
