import { basename, resolve } from "node:path";
import { type ListedAdapter, listAdapters, rollBack } from "mixture-of-shards-core/adapters";
import {
  describeCount,
  flag,
  MosError,
  monotonicNow,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { averageAdapters, averageSettings } from "mixture-of-shards-core/convert";
import { readModelConfig } from "mixture-of-shards-core/models";
import { metricsToTensorboard } from "mixture-of-shards-core/training";
import { z } from "zod";
import { trackRun } from "../trackers/track.ts";
import { defineCommand, group, refuseOthers } from "./command.ts";
import { chosenTracker, configOnly, trackOptions } from "./common-options.ts";
import { counted, labelled, type Row, textTable } from "./format.ts";
import { configPath } from "./loading.ts";
import { adapterText, formatShare } from "./model-text.ts";
import { printable, printJson, printLine, printResult, shellWord, warn } from "./terminal.ts";

const ACTIONS = ["list", "rollback", "tensorboard", "track", "average"] as const;

const options = {
  ...group("Version", {
    to: setting(z.int().min(1), {
      placeholder: "version",
      defaultText: "the version replaced last",
      help: "rollback: version to restore, as shown by list",
    }),
  }),
  ...group("Tracker", trackOptions),
  ...group("Mean", {
    out: setting(z.string(), { placeholder: "folder", help: "average: output folder" }),
    ...averageSettings,
    model: configOnly,
    overwrite: flag({ help: "average: replace an existing adapter in --out" }),
  }),
};
const positional = {
  action: setting(z.enum(ACTIONS), { required: true, help: ACTIONS.join(", ") }),
  folder: setting(z.array(z.string()).readonly(), {
    required: true,
    help: "list: folder of adapters; rollback, tensorboard, track: folder of one adapter; average: folders of adapters",
  }),
};
type Values = SettingValues<typeof options> & SettingValues<typeof positional> & { readonly json: boolean };

/** The options of each action. */
const ACTION_OPTIONS: Readonly<Record<Values["action"], readonly (keyof typeof options)[]>> = {
  list: [],
  rollback: ["to"],
  tensorboard: [],
  track: ["track", "trackUrl", "trackProject"],
  average: ["out", "weights", "model", "overwrite"],
};

export const command = defineCommand({
  description:
    "Lists the adapters of a folder with their kept versions and problems; rolls an adapter back to a kept " +
    "version; writes an adapter's metrics for TensorBoard or to a tracker; averages adapters that were trained from one.",
  usage:
    "list <folder> | rollback <folder> [--to <version>] | tensorboard <folder> | track <folder> --track <tracker> | average <folder>... --out <folder> [--weights <list>]",
  arguments: positional,
  options,
  examples: `
Examples:
  mos adapters list adapters
  mos adapters rollback adapters/acme
      undo the last mos train --overwrite; a second rollback redoes it
  mos adapters rollback adapters/acme --to 2
  mos adapters tensorboard adapters/acme
      convert metrics.jsonl to event files in tensorboard/, as mos train --tensorboard does during training
  mos adapters track adapters/acme --track mlflow --track-url http://127.0.0.1:5000
      send what a tracker has not had of the metrics, as mos train --track does during training
  mos adapters average round-1/ann round-1/ben --weights 120,80 --out adapters/shared
      the weighted mean of adapters that were trained from one (mos train --from-adapter)

mos train keeps the adapters that it replaces (--keep-versions), and a rollback keeps the one that it replaces. Both replace an
adapter atomically, so a server that runs with --adapters needs no restart. list reads no model: the server's log says whether
an adapter belongs to the model that it serves.`,
  run,
});

async function run({ action, folder: folders, json, ...values }: Values): Promise<void> {
  const taken: readonly string[] = ACTION_OPTIONS[action];
  refuseOthers(options, values, { isTaken: (name) => taken.includes(name), command: `adapters ${action}` });
  const [folder = ""] = folders;
  if (action === "average") return await average(folders, { json, ...values });
  if (folders.length > 1)
    throw new MosError("bad_option", `mos adapters ${action} takes one folder; ${folders.length} were given`);
  if (action === "tensorboard") {
    const tensorboard = await metricsToTensorboard(folder, { now: monotonicNow });
    const next = `tensorboard --logdir ${shellWord(folder)}`;
    printResult(json, { tensorboard }, () =>
      labelled([
        ["written", tensorboard],
        ["next", next],
      ]),
    );
  } else if (action === "track") {
    const track = chosenTracker(values, warn);
    if (track === undefined) throw new MosError("bad_option", "mos adapters track needs --track <tracker>");
    const name = basename(resolve(folder));
    const tracking = await trackRun(folder, { ...track, name, patience: 60_000 });
    if (!(await tracking.end({ isComplete: true })))
      throw new MosError("network", `${track.to} has not taken all metrics; try again later`);
    printResult(json, { track: track.to, project: track.project }, () => labelled([["sent", track.url]]));
  } else if (action === "list") {
    const adapters = await listAdapters(folder);
    if (json) printJson({ adapters: adapters.map(adapterJson) });
    else list(adapters);
  } else {
    const { restored, kept } = await rollBack(folder, values.to);
    const result = { adapter: basename(folder), restored: restored.version, kept: kept ?? null };
    printResult(json, result, () =>
      labelled([
        ["in use", `version ${restored.version}, written ${formatMinute(restored.changedAt)} UTC`],
        kept !== undefined && ["kept", `the replaced adapter, as version ${kept}`],
        ["adapter", folder],
      ]),
    );
  }
}

async function average(
  adapters: readonly string[],
  { out, weights, model, overwrite, json }: Omit<Values, "action" | "folder">,
): Promise<void> {
  if (out === undefined) throw new MosError("bad_option", "mos adapters average needs --out <folder>");
  const config = model === undefined ? undefined : await readModelConfig(await configPath(model));
  const done = await averageAdapters({ adapters, out, weights, model: config, overwrite });
  printResult(json, done, () =>
    labelled([
      ["written", done.out],
      ["method", adapterText(done.adapter)],
      ...adapters.map(
        (path, i): Row => [i === 0 ? "mean of" : "", `${formatShare(done.weights[i] ?? 0)} ${path}`],
      ),
    ]),
  );
}

const formatDate = (seconds: number): string => new Date(1000 * seconds).toISOString();

/** "2026-08-22 14:03", in UTC. */
const formatMinute = (seconds: number): string => formatDate(seconds).slice(0, 16).replace("T", " ");

function adapterJson({ name, adapter, reason, soFar, versions, isRetrained }: ListedAdapter): object {
  return {
    name,
    adapter: adapter === undefined ? null : { ...adapter, changedAt: formatDate(adapter.changedAt) },
    reason: reason ?? null,
    soFar: soFar ?? null,
    versions: versions.map((one) => ({ ...one, changedAt: formatDate(one.changedAt) })),
    isRetrained,
  };
}

function list(adapters: readonly ListedAdapter[]): void {
  if (adapters.length === 0) {
    printLine("no adapters in this folder");
    return;
  }
  const rows = adapters.map(({ name, adapter, versions, isRetrained }) => [
    printable(name),
    ...(adapter === undefined
      ? ["–", "–", "–", "–"]
      : [
          `${adapter.config.method} ${adapter.config.rank}`,
          describeCount(adapter.parameters),
          printable(adapter.base.name ?? "–"),
          formatMinute(adapter.changedAt),
        ]),
    versions.map(({ version }) => version).join(", ") || "–",
    isRetrained ? "replacement run unfinished" : "",
  ]);
  const head = ["name", "method, rank", "parameters", "base", "written (UTC)", "kept", ""];
  printLine(textTable([head, ...rows], { left: [0, 1, 3, 4, 5, 6] }));
  const broken = adapters.filter(({ reason }) => reason !== undefined);
  for (const { name, reason, soFar } of broken) {
    const progress = soFar === undefined ? "" : `; its progress is in ${soFar}`;
    warn(`${printable(name)} cannot be served: ${reason}${progress}`);
  }
  const fine = counted(adapters.length - broken.length, "adapter");
  if (broken.length > 0) printLine(`\n${fine}; ${counted(broken.length, "folder")} cannot be served`);
}
