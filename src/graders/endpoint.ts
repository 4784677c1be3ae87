// An endpoint of OpenAI's chat completions API that answers the requests of score_model.
import { MosError } from "#core";
import type { ScoreModel } from "./score-model.ts";

const SECONDS = 120;

/**
 * Asks a server.
 *
 * @param endpoint `url` of the API, such as https://api.openai.com/v1, and the `key` for it
 */
export const chatEndpoint =
  ({ url, key }: { readonly url: string; readonly key?: string | undefined }): ScoreModel =>
  async (request, signal) => {
    const target = `${url.replace(/\/+$/, "")}/chat/completions`;
    const late = AbortSignal.timeout(SECONDS * 1000);
    const response = await fetch(target, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      },
      body: JSON.stringify(request),
      signal: signal === undefined ? late : AbortSignal.any([signal, late]),
    });
    const text = await response.text();
    if (!response.ok)
      throw new MosError("network", `${target} answered ${response.status}: ${text.slice(0, 500)}`);
    return JSON.parse(text) as unknown;
  };
