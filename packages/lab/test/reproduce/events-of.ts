import { type ReproduceEvent, type ReproduceOptions, reproduce } from "../../src/reproduce/index.ts";

/** All events of an experiment. */
export async function collectEvents(
  options: ReproduceOptions,
  onEvent: (event: ReproduceEvent) => void = () => undefined,
): Promise<readonly ReproduceEvent[]> {
  const events: ReproduceEvent[] = [];
  for await (const event of reproduce(options)) {
    events.push(event);
    onEvent(event);
  }
  return events;
}
