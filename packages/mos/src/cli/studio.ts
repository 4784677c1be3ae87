// mos studio: mos serve with a place for fine-tuning jobs, and its page in the browser.
import { spawn } from "node:child_process";
import { adjust, flag, setting } from "mixture-of-shards-core/common";
import { z } from "zod";
import { installedServeAddOns } from "./add-ons.ts";
import { type Command, defineCommand, group } from "./command.ts";
import { BUNDLED_MODEL } from "./common-options.ts";
import { serveOptions, serveUntilStopped } from "./serve.ts";

/** Where jobs and models are kept in the working directory, unless an option says otherwise. */
const STATE = ".mos/studio";

/** Run folders are looked for below this one. */
const RUNS = ".";

/** Options that give a server another place for models. */
const PLACES = ["state", "databaseUrl", "adapters"];

const model = setting(z.string(), {
  common: true,
  placeholder: "model",
  defaultText: "a bundled toy model",
  help: "model: a folder, a .gguf file, or org/name on the Hugging Face Hub",
});
const own = {
  ...group("Model", { model }),
  ...group("Studio", {
    open: flag({ default: true, help: "print the address without opening a browser" }),
  }),
};

/** The command, with what installed add-ons bring to `mos serve`. */
export async function loadCommand(): Promise<Command> {
  const addOns = await installedServeAddOns();
  const { options, conflicts } = serveOptions(addOns);
  const state = Object.entries(options).find(([name]) => name === "state")?.[1];
  return defineCommand({
    description:
      "Opens the studio in your browser: a page to fine-tune on your data, watch runs and compare answers.\n" +
      "mos serve serves it, and has the same options.",
    usage: "[--model <model>] [options]",
    options: {
      ...options,
      ...own,
      ...(state === undefined ? {} : { state: adjust(state, { defaultText: STATE }) }),
      runs: adjust(options.runs, { default: RUNS }),
    },
    conflicts,
    json: "print one JSON line on stdout when the server is ready",
    examples: `
Examples:
  mos studio
  mos studio --model Qwen/Qwen3.5-0.8B
  mos studio --model org/name --host 0.0.0.0 --api-keys keys.jsonl`,
    run({ open, model = BUNDLED_MODEL, ...values }) {
      const given = new Map<string, unknown>(Object.entries(values));
      const needsState = state !== undefined && PLACES.every((name) => given.get(name) === undefined);
      const place = needsState ? { state: STATE } : {};
      const isWatched = open && !values.json && process.stdout.isTTY;
      return serveUntilStopped(
        { ...values, model, ...place },
        { addOns, onReady: (address) => (isWatched ? openBrowser(address) : undefined) },
      );
    },
  });
}

/** The program of a system that opens an address as its user wants; undefined where there is no screen. */
export function openerOf(
  platform: NodeJS.Platform,
  env: Readonly<Record<string, string | undefined>>,
): readonly [program: string, ...args: string[]] | undefined {
  if (platform === "darwin") return ["open"];
  if (platform === "win32") return ["rundll32", "url.dll,FileProtocolHandler"];
  const hasScreen = (env["DISPLAY"] ?? env["WAYLAND_DISPLAY"] ?? "") !== "";
  return hasScreen ? ["xdg-open"] : undefined;
}

/** Opens an address in the browser where that can be done. The address was printed, too. */
function openBrowser(address: string): void {
  const opener = openerOf(process.platform, process.env);
  if (opener === undefined) return;
  const [program, ...args] = opener;
  const child = spawn(program, [...args, address], { stdio: "ignore", detached: true });
  child.on("error", () => undefined);
  child.unref();
}
