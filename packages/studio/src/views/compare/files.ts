// Files that leave the page and come to it.
import { messageOf } from "#api";
import { saveFile } from "#core";
import { toast } from "#ui";
import { change, reading, session } from "./current.ts";
import { readComparison, writeComparison } from "./share.ts";

/** 2026-03-05-1403, in the reader's zone. */
export function fileTime(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
  return `${day}-${two(now.getHours())}${two(now.getMinutes())}`;
}

export function saveComparison(): void {
  const now = new Date();
  saveFile(`comparison-${fileTime(now)}.json`, writeComparison(session.toComparison(), now));
}

const MAX_BYTES = 64_000_000;

/** Opens a saved comparison, or says why not. */
export async function openComparison(file: File): Promise<void> {
  try {
    if (file.size > MAX_BYTES) throw new Error("it is larger than 64 MB");
    const comparison = readComparison(await file.text());
    session.open(comparison);
    change({ logprobs: reading.value === "probabilities" });
  } catch (error) {
    toast(`${file.name} cannot be opened: ${messageOf(error)}`, { kind: "bad" });
  }
}

/** Lets somebody choose a saved comparison. */
export function chooseComparison(): void {
  const input = document.createElement("input");
  input.type = "file";
  input.accept = ".json,application/json";
  input.onchange = () => {
    const [file] = input.files ?? [];
    if (file !== undefined) void openComparison(file);
  };
  input.click();
}
