// The memory of the server by its tiers.
import type { ComponentChildren } from "preact";
import { formatBytes, formatCount, formatShare } from "#core";
import type { System } from "./live.tsx";

interface TierProps {
  readonly title: string;
  readonly note: ComponentChildren;
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
    <li class="tier">
      <div class="tier-head">
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
      <div class="row section-head">
        <h2>Memory</h2>
        <ul class="counts">
          {processes.map(({ name, bytes }) => (
            <li key={name}>
              <span>{name} process</span> {formatBytes(bytes)}
            </li>
          ))}
        </ul>
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
