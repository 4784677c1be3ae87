import { stat } from "node:fs/promises";
import { join } from "node:path";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, openAdapterFolder } from "mixture-of-shards-core/adapters";
import {
  describeBytes,
  flag,
  MosError,
  omitUndefined,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { pathExists, readBytes } from "mixture-of-shards-core/files";
import { looksLikeRepository, type PushEvent, push } from "mixture-of-shards-core/hub";
import { z } from "zod";
import { adapterCard } from "./adapter-card.ts";
import { defineCommand, group } from "./command.ts";
import { quiet } from "./common-options.ts";
import { counted, formatBar, labelled } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { usableAdapter, userPlaces } from "./loading.ts";
import { type LiveLine, liveLine, MOS, nextText, printJson, printLine } from "./terminal.ts";

const CARD = "README.md";

const positional = {
  adapter: setting(z.string(), { required: true, help: "adapter folder" }),
  repository: setting(z.string(), { required: true, help: "org/name" }),
};
const options = {
  ...group("Repository", {
    private: flag({ help: "make the repository private" }),
    revision: setting(z.string(), { placeholder: "branch", default: "main", help: "branch to commit to" }),
    baseModel: setting(z.string(), {
      placeholder: "org/name",
      defaultText: "the one that the adapter names",
      help: "base model on the Hub",
    }),
  }),
  ...group("Network", {
    uploadHost: setting(z.array(z.string()).readonly(), {
      placeholder: "host",
      help: "host that files may be uploaded to, besides those of the Hub's own domain; repeatable",
    }),
  }),
  ...group("Output", { quiet }),
};
type Values = SettingValues<typeof options> & SettingValues<typeof positional> & { readonly json: boolean };

export const command = defineCommand({
  description: "Uploads an adapter with its card to the Hugging Face Hub.",
  usage: "<adapter> <org/name> [options]",
  arguments: positional,
  options,
  json: "events",
  examples: `
Examples:
  mos push adapters/acme org/acme
  mos push adapters/acme org/acme --private --revision v2
  mos push adapters/acme org/acme --base-model HuggingFaceTB/SmolLM2-135M-Instruct

Only adapter_config.json, adapter_model.safetensors and README.md are uploaded, and only if they differ from the Hub's.
Without a README.md in the folder, a card is made from the adapter's settings and training record; one that the Hub has
stays. Needs a token with write access: HF_TOKEN, or the login of Hugging Face's own tools.`,
  run,
});

async function run(values: Values): Promise<void> {
  const { adapter, repository, revision, json } = values;
  const folder = await usableAdapter(adapter);
  const { files, baseModel } = await filesToPush(adapter, folder, values);
  const { hub } = await userPlaces();
  if (hub.offline) throw new MosError("bad_option", "network access is disabled by HF_HUB_OFFLINE");
  const silent = values.quiet || json;
  using interrupt = listenForInterrupt("stopping", { silent });
  const finished = await (async (): Promise<Finish | undefined> => {
    using line = liveLine({ silent });
    const show = pushProgress(line);
    const events = push(files, repository, {
      ...omitUndefined({ token: hub.token }),
      ...{ endpoint: hub.endpoint, revision, private: values.private, signal: interrupt.signal },
      uploadHosts: values.uploadHost ?? [],
      title: `Upload adapter of ${baseModel}`,
    });
    for await (const event of events) {
      if (json) printJson(event);
      show(event);
      if (event.type === "finish") return event;
    }
    return undefined;
  })();
  if (finished !== undefined && !silent) printLine(pushedText(finished, { repository, baseModel }));
}

type Finish = Extract<PushEvent, { readonly type: "finish" }>;

/** The adapter's two files and its card. */
async function filesToPush(
  given: string,
  folder: string,
  { repository, baseModel: named }: Pick<Values, "repository" | "baseModel">,
): Promise<{ readonly files: Parameters<typeof push>[0]; readonly baseModel: string }> {
  await using opened = await openAdapterFolder(folder);
  const description = await opened.describe();
  const recorded = description.base.name ?? "";
  const baseModel = named ?? recorded;
  if (!looksLikeRepository(baseModel))
    throw new MosError(
      "bad_option",
      `${given}: its base is recorded as ${JSON.stringify(baseModel)}, which is no repository of the Hub; pass --base-model org/name`,
    );
  const [config, tensors] = [join(folder, ADAPTER_CONFIG), join(folder, ADAPTER_TENSORS)];
  const card = join(given, CARD);
  const { size: bytes } = await stat(tensors);
  const content = { ...description, repository, baseModel, bytes, folder: given };
  return {
    baseModel,
    files: [
      { path: ADAPTER_CONFIG, content: baseModel === recorded ? config : await rebased(config, baseModel) },
      { path: ADAPTER_TENSORS, content: tensors },
      (await pathExists(card))
        ? { path: CARD, content: card }
        : { path: CARD, content: new TextEncoder().encode(await adapterCard(content)), isDefault: true },
    ],
  };
}

/** The settings of an adapter with another name of its base. */
async function rebased(path: string, baseModel: string): Promise<Uint8Array<ArrayBuffer>> {
  const text = new TextDecoder().decode(await readBytes(path, { code: "bad_adapter" }));
  const fields = { ...(JSON.parse(text) as object), base_model_name_or_path: baseModel };
  return new TextEncoder().encode(`${JSON.stringify(fields, null, 2)}\n`);
}

/** Draws how far each file is on a live line. */
function pushProgress(line: LiveLine): (event: PushEvent) => void {
  return (event) => {
    if (event.type === "created")
      line.print(`created ${event.repository}${event.private ? ", private" : ""}`);
    if (event.type !== "upload") return;
    const { path, size, share } = event;
    line.update([`${formatBar(share, 10)} ${Math.floor(share * 100)}%`, describeBytes(size), path]);
  };
}

/** What was uploaded, and the next commands. */
function pushedText(
  { url, revision, commit, sent, unchanged }: Finish,
  { repository, baseModel }: { readonly repository: string; readonly baseModel: string },
): string {
  const name = revision === "main" ? repository : `${repository}@${revision}`;
  return [
    labelled([
      ["place", url],
      [
        "commit",
        commit === undefined ? "none: nothing has changed" : `${commit.slice(0, 12)} on ${revision}`,
      ],
      ["files", `${counted(sent.length, "file")} uploaded, ${unchanged.length} unchanged`],
    ]),
    "",
    nextText([`${MOS} generate --model ${baseModel} --adapter ${name} --chat`]),
  ].join("\n");
}
