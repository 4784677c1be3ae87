import { basename } from "node:path";
import { type ListedAdapter, listAdapters, type RolledBack, rollBack } from "#adapters";
import { choice, describeCount, integer, MosError, monotonicNow, type SettingValues, text } from "#core";
import { metricsToTensorboard } from "#training";
import { defineCommand, group } from "./command.ts";
import { counted, labelled, textTable } from "./format.ts";
import { printable, printJson, printLine, shellWord, warn } from "./terminal.ts";

const ACTIONS = ["list", "rollback", "tensorboard"] as const;

const options = {
  ...group("Version", {
    to: integer({
      min: 1,
      placeholder: "version",
      defaultText: "the version replaced last",
      help: "rollback: version to restore, as shown by list",
    }),
  }),
};
const positional = {
  action: choice(ACTIONS, { required: true, help: ACTIONS.join(", ") }),
  folder: text({
    required: true,
    help: "list: folder of adapters; rollback, tensorboard: folder of one adapter",
  }),
};
type Values = SettingValues<typeof options> & SettingValues<typeof positional> & { readonly json: boolean };

export const command = defineCommand({
  description:
    "Lists the adapters of a folder with their kept versions and problems; rolls an adapter back to a kept " +
    "version; writes an adapter's metrics for TensorBoard.",
  usage: "list <folder> | rollback <folder> [--to <version>] | tensorboard <folder>",
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

mos train keeps the adapters that it replaces (--keep-versions), and a rollback keeps the one that it replaces. Both replace an
adapter atomically, so a server that runs with --adapters needs no restart. list reads no model: the server's log says whether
an adapter belongs to the model that it serves.`,
  run,
});

async function run({ action, folder, to, json }: Values): Promise<void> {
  if (action !== "rollback" && to !== undefined)
    throw new MosError("bad_option", `--to cannot be used with mos adapters ${action}`);
  if (action === "tensorboard") {
    const tensorboard = await metricsToTensorboard(folder, { now: monotonicNow });
    if (json) printJson({ tensorboard });
    else
      printLine(
        labelled([
          ["written", tensorboard],
          ["next", `tensorboard --logdir ${shellWord(folder)}`],
        ]),
      );
    return;
  }
  if (action === "list") {
    const adapters = await listAdapters(folder);
    if (json) printJson({ adapters: adapters.map(adapterJson) });
    else list(adapters);
    return;
  }
  const done = await rollBack(folder, to);
  if (json)
    printJson({ adapter: basename(folder), restored: done.restored.version, kept: done.kept ?? null });
  else printLine(rolledBackText(done, folder));
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
    versions: versions.map(({ version, path, changedAt }) => ({
      version,
      path,
      changedAt: formatDate(changedAt),
    })),
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
    adapter === undefined ? "–" : `${adapter.config.method} ${adapter.config.rank}`,
    adapter === undefined ? "–" : describeCount(adapter.parameters),
    printable(adapter?.base.name ?? "–"),
    adapter === undefined ? "–" : formatMinute(adapter.changedAt),
    versions.length === 0 ? "–" : versions.map(({ version }) => version).join(", "),
    isRetrained ? "replacement run unfinished" : "",
  ]);
  const head = ["name", "method, rank", "parameters", "base", "written (UTC)", "kept", ""];
  printLine(textTable([head, ...rows], { left: [0, 1, 3, 4, 5, 6] }));
  for (const { name, reason, soFar } of adapters)
    if (reason !== undefined)
      warn(
        `${printable(name)} cannot be served: ${reason}${soFar === undefined ? "" : `; its progress is in ${soFar}`}`,
      );
  const broken = adapters.filter(({ reason }) => reason !== undefined).length;
  if (broken > 0)
    printLine(
      `\n${counted(adapters.length - broken, "adapter")}; ${counted(broken, "folder")} cannot be served`,
    );
}

function rolledBackText({ restored, kept }: RolledBack, folder: string): string {
  return labelled([
    ["in use", `version ${restored.version}, written ${formatMinute(restored.changedAt)} UTC`],
    ...(kept === undefined ? [] : [["kept", `the replaced adapter, as version ${kept}`] as const]),
    ["adapter", folder],
  ]);
}
