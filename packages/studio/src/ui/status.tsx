import "./notice.css";

/** How a state looks: what works, what waits, what went wrong, and what is over. */
const KINDS: Readonly<Record<string, string>> = {
  running: "live",
  validating_files: "wait",
  queued: "wait",
  paused: "wait",
  succeeded: "good",
  failed: "bad",
  interrupted: "bad",
  active: "good",
  idle: "good",
  silent: "bad",
};

/** A state as a dot and a word; the dot of what runs now moves, for those who like that. */
export function Status({ value }: { readonly value: string }) {
  return <span class={`status ${KINDS[value] ?? "over"}`}>{value.replaceAll("_", " ")}</span>;
}
