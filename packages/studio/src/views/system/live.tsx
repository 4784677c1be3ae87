// What the engine does now: its slots, who waits, how fast answers come, what the prefix cache saves, what memory it takes.
import type { ComponentChildren } from "preact";
import type { components } from "#api";
import { formatBytes, formatCount, formatRate, formatShare } from "#core";

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
    <section class="card stack tile" aria-label={title}>
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

/** Names with what each has. */
export const Counts = ({
  counts,
}: {
  readonly counts: readonly (readonly [name: string, has: string])[];
}) => (
  <ul class="row counts">
    {counts.map(([name, has]) => (
      <li key={name}>
        <span>{name}</span> {has}
      </li>
    ))}
  </ul>
);

/** Requests by name, the most first. */
function Requests({ of, none }: { readonly of: Readonly<Record<string, number>>; readonly none: string }) {
  const rows = Object.entries(of).sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  if (rows.length === 0) return <p class="muted">{none}</p>;
  return <Counts counts={rows.map(([name, count]) => [name, formatCount(count)])} />;
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
        <Requests of={running} none="No active requests" />
      </Tile>
      <Tile title="Queue" value={formatCount(queue.waiting)} of="waiting">
        <Requests of={queue.tenants} none="No requests waiting" />
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

interface TierProps {
  readonly title: string;
  readonly note: string;
  readonly used: number;
  /** Of it, what is taken without being used. */
  readonly allocated?: number;
  readonly limit?: number | undefined;
}

const percent = (part: number, whole: number): string =>
  `${Math.min(100, whole > 0 ? (part / whole) * 100 : 0)}%`;

/** A tier as a bar up to its limit. */
function Tier({ title, note, used, allocated = used, limit }: TierProps) {
  const text =
    limit === undefined
      ? formatBytes(used)
      : `${formatBytes(used)} of ${formatBytes(limit)} (${formatShare(limit === 0 ? 0 : used / limit)})`;
  return (
    <li class="stack tier">
      <div class="row spread tier-head">
        <strong>{title}</strong>
        <span>{text}</span>
      </div>
      {limit !== undefined && (
        <div
          class="bar"
          role="meter"
          aria-label={title}
          aria-valuemin={0}
          aria-valuemax={limit}
          aria-valuenow={Math.min(used, limit)}
          aria-valuetext={text}
        >
          <span class="allocated" style={{ width: percent(allocated, limit) }} />
          <span class="used" style={{ width: percent(used, limit) }} />
        </div>
      )}
      <p class="muted">{note}</p>
    </li>
  );
}

const hitShare = (hits: number, others: number): string =>
  hits + others === 0 ? "" : `; ${formatShare(hits / (hits + others))} hit rate`;

export function Memory({ memory, caches }: Pick<System, "memory" | "caches">) {
  const { cache, adapters, active_adapters: active, grammars, processes, base_bytes: base } = memory;
  return (
    <section class="card" aria-label="Memory">
      <div class="row spread">
        <h2>Memory</h2>
        <Counts counts={processes.map(({ name, bytes }) => [`${name} process`, formatBytes(bytes)])} />
      </div>
      <ul class="tiers">
        {base !== null && <Tier title="Base model" used={base} note="Weights, as planned at startup" />}
        <Tier
          title="Keys and values"
          used={cache.used_bytes}
          allocated={cache.bytes}
          limit={cache.limit_bytes}
          note={`${formatBytes(cache.bytes)} allocated, for running requests and cached prefixes`}
        />
        <Tier
          title="Loaded adapters"
          used={adapters.bytes}
          limit={adapters.limit_bytes || undefined}
          note={`${formatCount(adapters.resident)} of ${formatCount(adapters.registered)} adapters${hitShare(caches.adapters.hits, caches.adapters.misses)}`}
        />
        <Tier
          title="Running adapters"
          used={active.bytes}
          limit={active.limit_bytes}
          note={`Factors of ${formatCount(active.active)} adapters, one slot each`}
        />
        <Tier
          title="Grammars"
          used={grammars.bytes}
          note={`${formatCount(grammars.resident)} compiled${hitShare(caches.grammars.hits, caches.grammars.compiled)}`}
        />
      </ul>
    </section>
  );
}
