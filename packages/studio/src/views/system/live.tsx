// What the engine does now: its slots, who waits, how fast answers come, what the prefix cache saves.
import type { ComponentChildren } from "preact";
import type { components } from "#api";
import { formatCount, formatRate, formatShare } from "#core";

export type System = components["schemas"]["System"];

interface TileProps {
  readonly title: string;
  readonly value: ComponentChildren;
  readonly of?: string;
  readonly children?: ComponentChildren;
}

/** A number that is looked at from afar, and what belongs to it. */
function Tile({ title, value, of, children }: TileProps) {
  return (
    <section class="card tile" aria-label={title}>
      <h2>{title}</h2>
      <p class="tile-value">
        {value}
        {of !== undefined && <span class="muted"> {of}</span>}
      </p>
      {children}
    </section>
  );
}

/** More squares than this would say no more. */
const MOST_SQUARES = 128;

/** A square for each slot: filled while it writes an answer, half while it reads a prompt. */
function Slots({ slots, active, prefilling }: System["batch"]) {
  const squares = Array.from({ length: Math.min(slots, MOST_SQUARES) }, (_, i) => {
    if (i >= active) return "free";
    return i < active - prefilling ? "writes" : "reads";
  });
  return (
    <div class="slots" aria-hidden="true">
      {squares.map((state, i) => (
        // slots have no identity but their place
        <span key={i} class={state} />
      ))}
    </div>
  );
}

/** Names with their counts, the largest first. */
function Counts({
  counts,
  none,
}: {
  readonly counts: Readonly<Record<string, number>>;
  readonly none: string;
}) {
  const rows = Object.entries(counts).sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  if (rows.length === 0) return <p class="muted">{none}</p>;
  return (
    <ul class="counts">
      {rows.map(([name, count]) => (
        <li key={name}>
          <span>{name}</span> {formatCount(count)}
        </li>
      ))}
    </ul>
  );
}

const BAR = 5;
const HEIGHT = 40;

/** Tokens of each of the last seconds, from nothing up. */
function Seconds({ values }: { readonly values: readonly number[] }) {
  const most = Math.max(...values, 1);
  return (
    <svg
      class="seconds"
      viewBox={`0 0 ${values.length * BAR} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={`Tokens in each of the last ${values.length} seconds, at most ${formatCount(Math.max(...values))}`}
    >
      {values.map((value, i) => {
        const height = value === 0 ? 1 : Math.max(2, (value / most) * HEIGHT);
        const place = { x: i * BAR, y: HEIGHT - height, width: BAR - 1, height };
        return <rect key={i} {...place} class={value === 0 ? "none" : undefined} />;
      })}
    </svg>
  );
}

export function Live({ system }: { readonly system: System }) {
  const { batch, queue, tokens, model } = system;
  const onAdapters = Object.values(batch.adapters).reduce((sum, count) => sum + count, 0);
  const onBase = batch.active - onAdapters;
  const running = { ...(onBase > 0 ? { [model]: onBase } : {}), ...batch.adapters };
  const reading = batch.prefilling > 0 ? `, ${formatCount(batch.prefilling)} in prefill` : "";
  return (
    <div class="tiles">
      <Tile
        title="Batch"
        value={formatCount(batch.active)}
        of={`of ${formatCount(batch.slots)} slots${reading}`}
      >
        <Slots {...batch} />
        <Counts counts={running} none="No active requests" />
      </Tile>
      <Tile title="Queue" value={formatCount(queue.waiting)} of="waiting">
        <Counts counts={queue.tenants} none="No requests waiting" />
      </Tile>
      <Tile title="Throughput" value={formatRate(system.tokens_per_second)} of="tokens">
        <Seconds values={system.token_history} />
        <p class="muted">10 s average · {formatCount(tokens.completion)} tokens since startup</p>
      </Tile>
      <Tile
        title="Prefix cache"
        value={formatShare(tokens.cached / Math.max(1, tokens.cached + tokens.prompt))}
        of="of prompt tokens"
      >
        <p class="muted">
          {formatCount(tokens.cached)} cached · {formatCount(tokens.prompt)} computed
        </p>
      </Tile>
    </div>
  );
}
