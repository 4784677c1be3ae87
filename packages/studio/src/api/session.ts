// The key that this browser signs in with. The server keeps it in a cookie that scripts cannot read.
import { signal } from "@preact/signals";
import { readProblem } from "./problem.ts";

/** Whether requests wait for a key. */
export const needsKey = signal(false);

/** Whether there is a key to forget. */
export const isSignedIn = signal(false);

/** Whether the key that somebody signed in with works no more. */
export const isRefused = signal(false);

/** Header without which the server does not look at the cookie: another site's page cannot send it. */
export const SESSION_HEADER = { "x-mos-session": "1" };

let waiting: (() => void)[] = [];

/** Waits until somebody has signed in, after an answer that asks for a key. */
export function nextSignIn(signal: AbortSignal | undefined): Promise<void> {
  isRefused.value ||= isSignedIn.value;
  needsKey.value = true;
  return new Promise((resolve, reject) => {
    waiting.push(resolve);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** Signs in. Throws an ApiProblem for a key that the server does not know. */
export async function signIn(key: string): Promise<void> {
  const answer = await fetch("./session", {
    method: "POST",
    headers: { "content-type": "application/json", ...SESSION_HEADER },
    body: JSON.stringify({ key }),
  });
  if (!answer.ok) throw await readProblem(answer);
  isSignedIn.value = true;
  isRefused.value = needsKey.value = false;
  const continued = waiting;
  waiting = [];
  for (const resume of continued) resume();
}

/** Forgets the key, and begins anew: nothing that it let this page see stays. */
export async function signOut(): Promise<void> {
  await fetch("./session", { method: "DELETE", headers: SESSION_HEADER });
  location.reload();
}
