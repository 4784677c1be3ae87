import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { DEFAULT_ENDPOINT } from "./connection.ts";

/** The variables that Hugging Face's own tools read; `process.env` has this shape. */
type HubEnvironment = {
  readonly [Name in
    | `HF_${"TOKEN" | "TOKEN_PATH" | "ENDPOINT" | "HOME" | "HUB_CACHE" | "ASSETS_CACHE" | "HUB_OFFLINE"}`
    | "HUGGING_FACE_HUB_TOKEN"
    | "HUGGINGFACE_HUB_CACHE"
    | "XDG_CACHE_HOME"]?: string | undefined;
};

/** The address of the hub, the token, and the folder of the cache. @inline */
export interface HubSettings {
  readonly cacheFolder: string;
  readonly endpoint: string;
  readonly token?: string;
  /** True where the environment forbids the network (`HF_HUB_OFFLINE=1`). */
  readonly offline: boolean;
}

const findHubHome = ({ HF_HOME, XDG_CACHE_HOME }: HubEnvironment, home: string): string =>
  HF_HOME || join(XDG_CACHE_HOME || join(home, ".cache"), "huggingface");

/**
 * The folder in which a program keeps what it derives from downloads, by the convention of the hub's tools: one of its
 * own name, outside the cache of repositories.
 */
export const hubAssetsFolder = (environment: HubEnvironment, home: string): string =>
  join(environment.HF_ASSETS_CACHE || join(findHubHome(environment, home), "assets"), "mixture-of-shards");

/**
 * The settings that Python's `huggingface_hub` would use, so that both share one cache and one login.
 *
 * @param home The user's home folder.
 * @example
 * const base = await loadModel("org/name", { hub: await hubSettings(process.env) }); // HF_TOKEN, HF_HOME and others count
 */
export async function hubSettings(
  environment: HubEnvironment,
  home: string = homedir(),
): Promise<HubSettings> {
  const hubHome = findHubHome(environment, home);
  const cacheFolder = environment.HF_HUB_CACHE || environment.HUGGINGFACE_HUB_CACHE || join(hubHome, "hub");
  const endpoint = (environment.HF_ENDPOINT || DEFAULT_ENDPOINT).replace(/(?<!\/)\/+$/, "");
  const offline = /^(1|on|yes|true)$/i.test(environment.HF_HUB_OFFLINE ?? "");
  const token =
    environment.HF_TOKEN ||
    environment.HUGGING_FACE_HUB_TOKEN ||
    // without a login most models can be read
    (await readFile(environment.HF_TOKEN_PATH || join(hubHome, "token"), "utf8").catch(() => undefined));
  const trimmed = token?.trim() ?? "";
  return { cacheFolder, endpoint, offline, ...(trimmed === "" ? {} : { token: trimmed }) };
}

/**
 * Options of the hub. Defaults are those of Hugging Face's own tools without environment variables;
 * `await hubSettings(process.env)` takes these into account.
 * @inline
 */
export interface HubOptions {
  /**
   * For models that need a login, such as `process.env.HF_TOKEN`. Default: the login of this machine (`hf auth login`),
   * unless `endpoint` is given.
   */
  readonly token?: string | undefined;
  /** The address of the hub or of a mirror ("https://huggingface.co"). The token is sent there and nowhere else. */
  readonly endpoint?: string | undefined;
  /** Folder of downloads, in the layout of Hugging Face's own tools ("~/.cache/huggingface/hub"). */
  readonly cacheFolder?: string | undefined;
  /** Uses only the cache (false). */
  readonly offline?: boolean | undefined;
}

/** Fills in the defaults of a user without any environment variables. */
export async function withHubDefaults(given: HubOptions = {}): Promise<HubSettings> {
  const usual = await hubSettings({});
  // a login is for the hub itself; whoever names another endpoint names the token for it, too
  const { token = given.endpoint === undefined ? usual.token : undefined, endpoint = usual.endpoint } = given;
  const { cacheFolder = usual.cacheFolder, offline = usual.offline } = given;
  return { cacheFolder, endpoint, offline, ...(token === undefined || token === "" ? {} : { token }) };
}
