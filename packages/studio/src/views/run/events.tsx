// What happened to a job, as it happens.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiProblem, api, connection, type JsonOf } from "#api";
import { Time, Toggle } from "#ui";

type Event = JsonOf<"/v1/fine_tuning/jobs/{id}/events">["data"][number];

/** Events that the page keeps: of messages and of measurements each. */
const MOST = 200;

/** Adds events behind the others, and forgets the oldest of each type. */
export function addEvents(known: readonly Event[], fresh: readonly Event[]): readonly Event[] {
  const all = [...known, ...fresh];
  if (all.length <= MOST) return all;
  const room = { message: MOST, metrics: MOST };
  return all
    .reverse()
    .filter(({ type }) => room[type]-- > 0)
    .reverse();
}

/** Milliseconds for which events are collected before they are shown, and before a stream that broke begins anew. */
const [COLLECT, AGAIN] = [150, 3000];

/** Reads the stream to its end. Events are shown together, as hundreds come at once at its start. */
async function follow(id: string, shown: Signal<readonly Event[]>, signal: AbortSignal): Promise<void> {
  const path = "/v1/fine_tuning/jobs/{id}/events";
  let known: readonly Event[] = [];
  let fresh: Event[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = (): void => {
    timer = undefined;
    known = addEvents(known, fresh);
    fresh = [];
    if (!signal.aborted) shown.value = known;
  };
  try {
    for await (const event of api.stream(path, { params: { id }, query: { stream: true }, signal })) {
      fresh.push(event as Event);
      timer ??= setTimeout(flush, COLLECT);
    }
  } finally {
    clearTimeout(timer);
    flush();
  }
}

/** Waits until the server is there, or the time is over. */
function pause(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop();
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    // calls it once now
    const stop = connection.subscribe((now) => {
      if (now === "up") setTimeout(done, AGAIN);
    });
  });
}

/**
 * Events of a job from its first one on. The stream is open while somebody looks at the page: a browser has few connections to
 * one server. One that breaks begins anew.
 */
function useEvents(id: string): Signal<readonly Event[]> {
  const events = useSignal<readonly Event[]>([]);
  useEffect(() => {
    let open: AbortController | undefined;
    const run = async (signal: AbortSignal): Promise<void> => {
      while (!signal.aborted) {
        try {
          return await follow(id, events, signal);
        } catch (error) {
          // a job that is gone, or not this reader's
          if (error instanceof ApiProblem && error.status >= 400 && error.status < 429) return;
        }
        await pause(signal);
      }
    };
    const look = (): void => {
      open?.abort();
      open = undefined;
      if (document.visibilityState === "hidden") return;
      open = new AbortController();
      void run(open.signal);
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      open?.abort();
    };
  }, [id]);
  return events;
}

/** Events of a job, the newest first. */
export function Events({ id }: { readonly id: string }) {
  const events = useEvents(id);
  const withSteps = useSignal(false);
  const shown = events.value.filter(({ type }) => withSteps.value || type === "message").slice(-MOST);
  return (
    <section class="card run-events" aria-label="Events">
      <header class="row spread">
        <h2>Events</h2>
        <Toggle label="Show metrics" of={withSteps} />
      </header>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls by itself, and must do so by keys, too */}
      <div class="run-log" role="log" aria-label="Events of the job" tabIndex={0}>
        <ol>
          {shown.toReversed().map(({ id: key, created_at, level, message }) => (
            <li key={key} data-level={level}>
              <Time at={created_at} />
              <span>{message}</span>
            </li>
          ))}
        </ol>
        {shown.length === 0 && <p class="muted">No events yet.</p>}
      </div>
    </section>
  );
}
