// What came of a run: the final model, and the checkpoints of a job, each to be tried at once.
import { api, config, type JsonOf, type Run } from "#api";
import { formatLoss, href } from "#core";
import { Copy, LinkButton, Problem, Time } from "#ui";
import { useList } from "./feed.ts";

type Checkpoint = JsonOf<"/v1/fine_tuning/jobs/{id}/checkpoints">["data"][number];

/** The address of a comparison of a model with its base. */
function tryIt(model: string): string {
  const base = config.value?.model;
  return href("compare", undefined, { models: base === undefined ? model : `${base},${model}` });
}

/** A model and what it is, with ways to use it. */
function Model(props: {
  readonly name: string;
  readonly what: string;
  readonly metrics?: Checkpoint["metrics"];
  readonly at: number | null;
}) {
  const { name, what, metrics = {}, at } = props;
  const loss = metrics["full_valid_loss"] ?? metrics["valid_loss"];
  return (
    <li class="beside run-model">
      <div>
        <p>
          <strong>{what}</strong>
          {loss !== undefined && <span class="muted"> · validation loss {formatLoss(loss)}</span>}
          <span class="muted">
            {" · "}
            <Time at={at} />
          </span>
        </p>
        <p class="mono muted run-model-name">
          {name} <Copy text={name} label={`Copy ${what.toLowerCase()} name`} />
        </p>
      </div>
      <LinkButton href={tryIt(name)} icon="compare">
        Try {what.toLowerCase()}
      </LinkButton>
    </li>
  );
}

/** The final model of a run, if it has one. */
const Final = ({ run }: { readonly run: Run }) =>
  run.fine_tuned_model === null ? null : (
    <Model name={run.fine_tuned_model} what="Final model" at={run.finished_at} />
  );

/** Models of a run folder. */
export function FolderModels({ run }: { readonly run: Run }) {
  return (
    <section class="card" aria-label="Models">
      <h2>Models</h2>
      <ul class="run-models">
        <Final run={run} />
      </ul>
      {run.fine_tuned_model === null && (
        <p class="muted">
          This run's adapter isn't being served. To serve it, start the server with <code>--adapters</code>{" "}
          and the folder that contains it.
        </p>
      )}
    </section>
  );
}

/** Models of a job: its checkpoints appear while it trains. */
export function JobModels({ run, isLive }: { readonly run: Run; readonly isLive: boolean }) {
  const checkpoints = useList(
    async (signal) => {
      const options = { params: { id: run.id }, query: { limit: 100 }, signal };
      return (await api.get("/v1/fine_tuning/jobs/{id}/checkpoints", options)).data;
    },
    { isLive, id: run.id },
  );
  const found = checkpoints.data.value ?? [];
  return (
    <section class="card" aria-label="Models">
      <h2>Models</h2>
      {checkpoints.error.value !== undefined && (
        <Problem error={checkpoints.error.value} retry={checkpoints.refresh} />
      )}
      <ul class="run-models">
        <Final run={run} />
        {found.map(({ id, fine_tuned_model_checkpoint, step_number, metrics, created_at }) => (
          <Model
            key={id}
            name={fine_tuned_model_checkpoint}
            what={`Checkpoint at step ${step_number}`}
            metrics={metrics}
            at={created_at}
          />
        ))}
      </ul>
      {found.length === 0 && run.fine_tuned_model === null && (
        <p class="muted">Checkpoints appear here during the run, and the final model when it ends.</p>
      )}
    </section>
  );
}
