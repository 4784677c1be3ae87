// Options that several commands have.
import { choice, flag, integer, text } from "#core";
import { DEVICES } from "#graph";

/** A model as every command takes it. */
export const model = text({
  required: true,
  placeholder: "model",
  help: "model: a folder, a .gguf file, or org/name on the Hugging Face Hub",
});

/** The same where an adapter comes first. */
export const base = text({
  required: true,
  placeholder: "model",
  help: "base model: a folder, a .gguf file, or org/name on the Hugging Face Hub",
});

/** The same where its weights are not needed. */
export const configOnly = text({
  placeholder: "model",
  help: "model: a folder, a .gguf file, or org/name; only its config is read",
});

export const adapterFolder = text({ required: true, help: "adapter folder" });

export const device = choice(DEVICES, { default: "cpu", help: "device to compute on" });

export const threads = integer({ min: 1, defaultText: "one per core", help: "compute threads" });

/** `--quiet`. */
export const quiet = flag({ help: "print errors only" });

export const SIZES =
  "Sizes are in bytes or take a unit: kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (powers of 1024).";

/** Backslash escapes of a text that no shell quotes easily: \n, \t and \\. */
export const unescaped = (text: string): string =>
  text.replace(/\\(n|t|\\)/g, (_, letter: string) => (letter === "n" ? "\n" : letter === "t" ? "\t" : "\\"));
