// How a teacher behind an endpoint is asked: its key, from the environment, and what is said of repeated requests.
import { MosError, matching, setting } from "mixture-of-shards-core/common";
import { type EndpointOptions, endpointUrl } from "mixture-of-shards-core/data";
import { formatDuration } from "./format.ts";
import { printable, printJson } from "./terminal.ts";

/** The option that names the variable. */
export const keyVariable = setting(matching(/^[A-Za-z_]\w*$/, "the name of an environment variable"), {
  placeholder: "name",
  defaultText: "OPENAI_API_KEY for https://api.openai.com, none for others",
  help: "environment variable that holds the key",
});

/** The key for a teacher; one that is set for OpenAI goes nowhere else unasked. Throws `bad_option` where it is not set. */
export function teacherKey({
  teacher: url,
  keyVariable,
}: {
  readonly teacher: string | undefined;
  readonly keyVariable: string | undefined;
}): string | undefined {
  if (url === undefined) return undefined;
  const isOpenAi = endpointUrl(url, "completions").origin === "https://api.openai.com";
  const variable = keyVariable ?? (isOpenAi ? "OPENAI_API_KEY" : undefined);
  if (variable === undefined) return undefined;
  const key = process.env[variable]?.trim() ?? "";
  if (key === "") throw new MosError("bad_option", `${variable} is not set; it must hold the key of ${url}`);
  return key;
}

/** Tells why a request is made again. */
export const retryNotice =
  ({
    json,
    quiet,
    print,
  }: {
    readonly json: boolean;
    readonly quiet: boolean;
    readonly print: (text: string) => void;
  }): NonNullable<EndpointOptions["onRetry"]> =>
  (reason, seconds) => {
    if (json) printJson({ type: "retry", reason, seconds });
    else if (!quiet) print(`${printable(reason)}; trying again in ${formatDuration(seconds)}`);
  };
