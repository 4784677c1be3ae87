import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { api, config } from "#api";
import { formatBytes, formatCount, formatDuration, formatShare, href, navigate, set } from "#core";
import { Button, Copy, Facts, Field, Problem, Tabs, TextInput } from "#ui";
import { toCurl, toTrainCommand, toTypeScript } from "./commands.ts";
import { type Form, isUsable, type Preview, toProblem } from "./form.ts";

/** What the job costs, and the button that makes it. */
export function Summary({ form }: { readonly form: Form }) {
  const { preview, isPreviewing, problem, isReady, drafted, draft } = form;
  const isBusy = useSignal(false);
  const key = useIdempotencyKey(JSON.stringify(drafted.value.body));
  const start = async (): Promise<void> => {
    isBusy.value = true;
    try {
      const headers = { "idempotency-key": key };
      const { id } = await api.post("/v1/fine_tuning/jobs", { body: drafted.value.body, headers });
      navigate(href("run", id));
    } catch (error) {
      problem.value = toProblem(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <section class="card stack summary" aria-label="Summary">
      <Estimates preview={preview.value} isStale={isPreviewing.value} />
      <Field label="Model name (optional)" error={drafted.value.problems["suffix"]}>
        <TextInput
          value={draft.value.suffix}
          placeholder="e.g. support-bot"
          onInput={(suffix) => form.change({ suffix })}
        />
      </Field>
      <Warnings preview={preview.value} />
      {problem.value !== undefined && <Problem error={problem.value} />}
      <Button
        kind="primary"
        icon="play"
        busy={isBusy.value}
        disabled={!isReady.value}
        onClick={() => void start()}
      >
        Start run
      </Button>
      <p class="muted missing">{isReady.value ? "" : whatIsMissing(form)}</p>
    </section>
  );
}

function whatIsMissing({ training, validation, drafted }: Form): string {
  if (training.value === undefined) return "Choose a training file first.";
  if (!isUsable(training.value)) return "Fix the training file first.";
  if (validation.value !== undefined && !isUsable(validation.value)) return "Fix the validation file first.";
  return Object.keys(drafted.value.problems).length > 0 ? "Fix the marked fields first." : "";
}

/** A key by which the server knows a request that is sent again; another one for another request. */
function useIdempotencyKey(body: string): string {
  return useMemo(() => {
    const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID needs HTTPS
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }, [body]);
}

/** What the limits of the key forbid. */
function Warnings({ preview }: { readonly preview: Preview | undefined }) {
  const limits = (preview?.warnings ?? []).filter(({ code }) => code.endsWith("_limit_exceeded"));
  return limits.map(({ message }) => <Problem key={message} error={new Error(message)} />);
}

/** "4.0× smaller". */
function compareSizes(trained: number | undefined, lora: number | undefined): string {
  if (trained === undefined || lora === undefined) return "–";
  return trained < lora ? `${(lora / trained).toFixed(1)}× smaller` : formatShare(trained / lora);
}

/** Rows that are always there, so that nothing moves when they are filled in. */
function Estimates({
  preview,
  isStale,
}: {
  readonly preview: Preview | undefined;
  readonly isStale: boolean;
}) {
  const { trainable_parameters: trained, lora_parameters: lora, memory, estimated_seconds } = preview ?? {};
  const time =
    preview === undefined || typeof estimated_seconds === "number"
      ? formatDuration(estimated_seconds)
      : "After the first run";
  return (
    <Facts
      kind={isStale ? "estimates stale" : "estimates"}
      facts={[
        ["Trainable parameters", formatCount(trained)],
        ["vs. LoRA of the same rank", compareSizes(trained, lora)],
        ["Adapter size", formatBytes(preview?.adapter_bytes)],
        ["Steps", formatCount(preview?.total_steps)],
        ["Training time", time],
        ["Memory", formatBytes(memory?.bytes)],
      ]}
    />
  );
}

const TABS = [
  { id: "curl", title: "curl" },
  { id: "mos", title: "mos train" },
  { id: "typescript", title: "TypeScript" },
];

/** The same job from a terminal or a program. */
export function Recipes({ form }: { readonly form: Form }) {
  const tab = useSignal("curl");
  const text = recipe(tab.value, form);
  return (
    <section class="card stack" aria-label="Equivalent commands">
      <header class="row spread">
        <h2>Equivalent commands</h2>
        <Copy text={text} label="Copy the command" />
      </header>
      <Tabs label="Command format" tabs={TABS} value={tab.value} onChange={(id) => set(tab, id)}>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
        <pre class="recipe" tabIndex={0}>
          {text}
        </pre>
        {tab.value === "mos" && (
          <p class="muted">
            Expects files with these names. Pass the folder of {config.value?.model} to --model; the seed
            defaults to 0.
          </p>
        )}
      </Tabs>
    </section>
  );
}

function recipe(kind: string, { drafted, training, validation, fields }: Form): string {
  const { body } = drafted.value;
  const { model = "", needsKey = false } = config.value ?? {};
  const target = { api: new URL("../v1", location.href).href, needsKey };
  if (kind === "curl") return toCurl(body, target);
  if (kind === "typescript") return toTypeScript(body, target);
  return toTrainCommand(body, {
    base: model,
    trainingName: training.value?.filename ?? "train.jsonl",
    validationName: validation.value?.filename,
    fields: fields.value,
  });
}
