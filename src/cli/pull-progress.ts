import type { PullEvent } from "#hub";
import { formatBar, formatBytes, formatDuration, formatRate, type LiveLine } from "./progress.ts";
import { counted } from "./terminal.ts";

/** Draws the events of a download on a live line. */
export function pullProgress(line: LiveLine, now: () => number): (event: PullEvent) => void {
  let startedAt = 0;
  let receivedBefore = 0;
  return (event) => {
    switch (event.type) {
      case "listing":
        startedAt = now();
        receivedBefore = event.received;
        line.print(
          `${event.repository} at ${event.commit.slice(0, 12)}: ${counted(event.files.length, "file")}, ${formatBytes(event.bytes)}` +
            (event.received > 0 ? `, ${formatBytes(event.received)} already here` : ""),
        );
        return;
      case "progress": {
        const rate = (event.received - receivedBefore) / Math.max(1e-3, (now() - startedAt) / 1000);
        line.update(
          `${formatBar(event.received / event.bytes, 24)} ${percent(event.received / event.bytes)}  ` +
            `${formatBytes(event.received)} of ${formatBytes(event.bytes)}  ${formatRate(rate, "bytes")}  ` +
            `${formatDuration((event.bytes - event.received) / rate)} left  ${event.path}`,
        );
        return;
      }
      case "retry":
        line.print(
          `${event.path}: ${event.reason}; trying again in ${formatDuration(event.seconds)} (${event.attempt})`,
        );
        return;
      case "file":
      case "done":
    }
  };
}

/** Shows the events of a download, and gives what it returns. */
export async function shownResult<Result>(
  events: AsyncGenerator<PullEvent, Result>,
  show: (event: PullEvent) => void,
): Promise<Result> {
  let step = await events.next();
  for (; step.done !== true; step = await events.next()) show(step.value);
  return step.value;
}

const percent = (share: number): string => `${Math.floor(share * 100)}%`.padStart(4);
