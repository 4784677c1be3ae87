import { useEffect, useMemo } from "preact/hooks";
import { config } from "#api";
import type { ViewProps } from "#core";
import { Empty, Page, Problem, Waiting } from "#ui";
import { DataStep } from "./data-step.tsx";
import { openForm } from "./form.ts";
import "./new-run.css";
import { PreviewStep } from "./preview-step.tsx";
import { ModelStep, SettingsStep } from "./settings-step.tsx";
import { Recipes, Summary } from "./summary.tsx";

/** A job to be made: its data, its model, its settings, and what they cost. */
export default function View({ query }: ViewProps) {
  if (config.value === undefined) return null;
  return (
    <Page title="New run" kind="new-run">
      {config.value.features.service ? <Steps key={query["from"]} from={query["from"]} /> : <NoService />}
    </Page>
  );
}

const NoService = () => (
  <Empty title="Fine-tuning is off">
    To start runs here, start the server with <code>mos studio</code> or <code>mos serve --state FOLDER</code>
    . Fine-tuning is an add-on: <code>npm install mixture-of-shards-service</code>.
  </Empty>
);

function Steps({ from }: { readonly from: string | undefined }) {
  const form = useMemo(() => openForm(from), [from]);
  useEffect(() => form.dispose, [form]);
  if (form.failure.value !== undefined) return <Problem error={form.failure.value} />;
  // all parts at once: none moves another when it comes
  if (form.fields.value.length === 0) return <Waiting />;
  return (
    <div class="columns">
      <div class="stack steps">
        <DataStep form={form} />
        <PreviewStep form={form} />
        <ModelStep form={form} />
        <SettingsStep form={form} />
        <Recipes form={form} />
      </div>
      <Summary form={form} />
    </div>
  );
}
