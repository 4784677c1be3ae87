import type { Run } from "#api";
import { formatCount, formatValue, labelOf } from "#core";

const TITLES: Readonly<Record<string, string>> = {
  model: "Base",
};

/** What a run was started with. */
export function Settings({ run }: { readonly run: Run }) {
  const { model, method, tenant, trainable_parameters, settings } = run;
  const head = {
    model,
    method,
    ...(tenant === null ? {} : { tenant }),
    trainable_parameters: trainable_parameters === null ? null : formatCount(trainable_parameters),
  };
  const entries = Object.entries({ ...settings, ...head });
  // what says most first, the rest by name
  const first = [...Object.keys(head), "learning_rate", "epochs", "batch_size", "max_length", "rank"];
  const place = (name: string): number => (first.indexOf(name) + first.length + 1) % (first.length + 1);
  const sorted = entries.sort(([a], [b]) => place(a) - place(b) || a.localeCompare(b));
  return (
    <section class="card" aria-label="Settings">
      <h2>Settings</h2>
      <dl class="run-settings">
        {sorted.map(([name, value]) => (
          <div key={name}>
            <dt>{TITLES[name] ?? labelOf(name)}</dt>
            <dd>{formatValue(value)}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
