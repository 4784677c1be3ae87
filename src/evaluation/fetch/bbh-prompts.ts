// The hub's data set of BBH is without the prompts; they are in the authors' repository on GitHub.
import { MosError } from "#core";
import { type ConnectionOptions, fetchTextFile } from "#hub";

/** Where `<task>.txt` is unless told otherwise. */
export const PROMPTS_URL = "https://raw.githubusercontent.com/suzgunmirac/BIG-Bench-Hard/main/cot-prompts";

export interface PromptOptions extends Pick<ConnectionOptions, "signal" | "fetch" | "sleep" | "retries"> {
  readonly promptsUrl: string;
}

/** The prompt of a task with its three examples. Throws what a download throws, with what else would do. */
export async function fetchBbhPrompt(
  task: string,
  { promptsUrl, ...options }: PromptOptions,
): Promise<string> {
  const path = `cot-prompts/${task}.txt`;
  try {
    const url = `${promptsUrl.replace(/\/+$/, "")}/${task}.txt`;
    return await fetchTextFile({ url, repository: "suzgunmirac/BIG-Bench-Hard", path }, options);
  } catch (error) {
    if (!(error instanceof MosError) || error.code === "cancelled") throw error;
    throw new MosError(
      error.code,
      `BBH's prompts are not on the hub but at ${promptsUrl}: ${error.message}. Or give a folder that holds bbh/tasks and bbh/cot-prompts (--data)`,
      { cause: error },
    );
  }
}
