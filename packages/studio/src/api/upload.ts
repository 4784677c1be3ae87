// Uploads with their progress, which fetch does not tell.
import { toUrl } from "./client.ts";
import { ApiProblem, toProblem, UNREACHABLE } from "./problem.ts";
import type { components } from "./schema.d.ts";
import { SESSION_HEADER } from "./session.ts";

/** A file of the server. */
export type StoredFile = components["schemas"]["OpenAIFile"];

interface UploadOptions {
  /** Share of the bytes that were sent; at 1 the server checks the file. */
  readonly onProgress: (share: number) => void;
  readonly signal: AbortSignal;
}

/** Uploads a file for training. Throws an ApiProblem, and an AbortError once the signal fires. */
export function upload(file: File, { onProgress, signal }: UploadOptions): Promise<StoredFile> {
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  request.responseType = "json"; // null for other answers, such as a proxy's page
  return new Promise((resolve, reject) => {
    const stop = (): void => request.abort();
    signal.addEventListener("abort", stop, { once: true });
    request.upload.onprogress = ({ loaded, total }) => onProgress(total === 0 ? 1 : loaded / total);
    request.onload = () => {
      const { status, response } = request;
      if (status === 200) return resolve(response as StoredFile);
      const requestId = request.getResponseHeader("x-request-id") ?? undefined;
      reject(toProblem(response, { status, requestId }));
    };
    request.onerror = () => reject(new ApiProblem("the server cannot be reached", { status: UNREACHABLE }));
    request.onabort = () => reject(new DOMException("the upload was cancelled", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", stop);
    request.open("POST", toUrl("/v1/files"));
    for (const [name, value] of Object.entries(SESSION_HEADER)) request.setRequestHeader(name, value);
    request.send(form);
  });
}
