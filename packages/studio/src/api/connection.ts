// Whether the server can be reached. While it cannot, one probe asks for it, so that views need not.
import { signal } from "@preact/signals";

/** "away" from a request that did not reach the server until a probe reaches it. */
export const connection = signal<"up" | "away">("up");

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** Half a second, then twice as long each time, up to ten seconds. */
export const backOff = (failures: number): number =>
  Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.max(0, failures - 1));

/** Status of a proxy whose server is away. */
const PROXY_STATUS: ReadonlySet<number> = new Set([502, 504]);

/** Whether an answer comes from a proxy that does not reach the server. */
export const isProxyProblem = ({ status }: Pick<Response, "status">): boolean => PROXY_STATUS.has(status);

async function isUp(): Promise<boolean> {
  try {
    return !isProxyProblem(await fetch("../health", { cache: "no-store" }));
  } catch {
    return false;
  }
}

/** A request did not reach the server. */
export function lost(): void {
  if (connection.value === "away") return;
  connection.value = "away";
  const probe = async (failures: number): Promise<void> => {
    if (await isUp()) connection.value = "up";
    else setTimeout(probe, backOff(failures), failures + 1);
  };
  setTimeout(probe, backOff(1), 2);
}
