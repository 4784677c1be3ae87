import { signal } from "@preact/signals";
import { formatRelative, formatTime, nowInSeconds } from "#core";

/** One clock for the page, however many times it shows. */
const now = signal(nowInSeconds(), {
  watched() {
    now.value = nowInSeconds(); // it stood still while nobody looked
    timer = setInterval(() => {
      now.value = nowInSeconds();
    }, 1000);
  },
  unwatched: () => clearInterval(timer),
});
let timer: ReturnType<typeof setInterval> | undefined;

interface TimeProps {
  readonly at: number | null | undefined;
  /** It may lie ahead. Of others, one that does is now: the server's clock is ahead of this one. */
  readonly isAhead?: boolean;
}

/** A moment, in seconds since 1970: how long ago, and exactly for who points at it. */
export function Time({ at, isAhead = false }: TimeProps) {
  if (at === null || at === undefined) return <span class="muted">–</span>;
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={formatTime(at)}>
      {formatRelative(at, isAhead ? now.value : Math.max(at, now.value))}
    </time>
  );
}
