import type { PulledModel } from "mixture-of-shards-core/hub";
import { expect, test } from "vitest";
import { engineProgress, pullProgress } from "./loading.ts";
import { pulledText } from "./pull.ts";

function recorder() {
  const shown: string[] = [];
  const line = {
    update: (state: string | readonly string[]) => shown.push([state].flat().join("  ")),
    show: (state: string | readonly string[]) => shown.push(`at once: ${state}`),
    print: (text: string) => shown.push(text),
    clear: () => undefined,
    [Symbol.dispose]: () => undefined,
  };
  return { shown, line };
}

test("speed and rest count what this run has fetched, not what was here", () => {
  let clock = 1000;
  const { shown, line } = recorder();
  const show = pullProgress(() => clock);
  const files = [{ path: "model.safetensors", size: 200e6 }];
  show(
    {
      type: "listing",
      repository: "org/name",
      commit: "0123456789abcdef",
      files,
      totalBytes: 200e6,
      doneBytes: 100e6,
    },
    line,
  );
  clock += 5000;
  show(
    {
      type: "progress",
      path: "model.safetensors",
      fileDoneBytes: 150e6,
      fileTotalBytes: 200e6,
      doneBytes: 150e6,
      totalBytes: 200e6,
    },
    line,
  );
  show(
    { type: "retry", path: "model.safetensors", attempt: 1, seconds: 2, message: "the connection broke" },
    line,
  );
  expect(shown).toEqual([
    "org/name at 0123456789ab: 1 file, 200 MB, 100 MB already downloaded",
    "#######---  75%  150 MB of 200 MB  10.0 MB/s  5.0 s left  model.safetensors",
    "model.safetensors: the connection broke; retrying in 2.0 s (1)",
  ]);
});

test("opening an engine says at once that it loads, and that it compiles before it does", () => {
  const { shown, line } = recorder();
  const show = engineProgress(line);
  show({ type: "adapters", done: 5, total: 5 });
  show({ type: "compile", done: 0, total: 1 });
  expect(shown).toEqual([
    "at once: loading the model",
    "at once: scanning adapters 5 of 5",
    "at once: compiling",
  ]);
});

test("next commands name the model as every command finds it", () => {
  const model: PulledModel = {
    kind: "gguf",
    repository: "org/name",
    revision: "main",
    commit: "0123456789abcdef",
    path: "/cache/x y/model.gguf",
    files: [{ path: "model.gguf", size: 1e6 }],
    bytes: 1e6,
  };
  expect(pulledText(model, { repository: "org/name:model.gguf", cache: undefined })).toContain(
    " --model org/name:model.gguf --chat",
  );
  expect(pulledText(model, { repository: "org/name", cache: "/cache" })).toContain(
    " --model '/cache/x y/model.gguf' --chat",
  );
});
