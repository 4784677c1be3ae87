// Uploads with their progress, which fetch does not tell.
import { ApiProblem } from "#api";

/** A file of the server. */
export interface StoredFile {
  readonly id: string;
  readonly filename: string;
  readonly bytes: number;
  readonly status: "processed" | "error";
}

interface UploadOptions {
  /** Share of the bytes that were sent; at 1 the server checks the file. */
  readonly onProgress: (share: number) => void;
  readonly signal: AbortSignal;
}

const readAnswer = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

function problemOf(request: XMLHttpRequest): ApiProblem {
  const { error } = Object(readAnswer(request.responseText));
  const { message, code, param } = Object(error);
  return new ApiProblem(message ?? `the server answered with status ${request.status}`, {
    status: request.status,
    code,
    param,
    requestId: request.getResponseHeader("x-request-id") ?? undefined,
  });
}

/** Uploads a file for training. Throws an ApiProblem, and an AbortError once the signal fires. */
export function upload(file: File, { onProgress, signal }: UploadOptions): Promise<StoredFile> {
  const form = new FormData();
  form.append("purpose", "fine-tune");
  form.append("file", file, file.name);
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const stop = (): void => request.abort();
    signal.addEventListener("abort", stop, { once: true });
    request.upload.onprogress = ({ loaded, total }) => onProgress(total === 0 ? 1 : loaded / total);
    request.onload = () => {
      if (request.status === 200) resolve(readAnswer(request.responseText) as StoredFile);
      else reject(problemOf(request));
    };
    request.onerror = () => reject(new ApiProblem("the server cannot be reached", { status: 0 }));
    request.onabort = () => reject(new DOMException("the upload was cancelled", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", stop);
    request.open("POST", "../v1/files");
    request.setRequestHeader("x-mos-session", "1");
    request.send(form);
  });
}
