// The server at this moment, who trains, and what each key has used.
import type { ComponentChildren } from "preact";
import { api, config, hasService, isSignedIn, signOut, usePoll } from "#api";
import { formatDuration, type ViewProps } from "#core";
import { Button, Empty, Page, Pending, Problem, Waiting } from "#ui";
import { Live, Memory } from "./live.tsx";
import "./system.css";
import { TrainingState } from "./training.tsx";
import { Usage } from "./usage.tsx";

/** Milliseconds between looks at the server. */
const EVERY = 1000;

export default function View(_: ViewProps) {
  const known = config.value;
  if (known === undefined) return <SystemPage about="">{<Waiting />}</SystemPage>;
  return known.needsKey && !known.isAdmin ? <OfTenant /> : <OfServer />;
}

const SystemPage = ({
  about,
  children,
}: {
  readonly about: string;
  readonly children: ComponentChildren;
}) => (
  <Page title="System" kind="system" beside={<p class="muted">{about}</p>}>
    {children}
  </Page>
);

/** Without training there is no database that would keep it. */
const UsageIfKept = () =>
  hasService() ? (
    <Usage />
  ) : (
    <p class="muted">
      Usage by key is kept by servers with a place for it: start this one with{" "}
      <code>mos serve --state FOLDER</code>.
    </p>
  );

function OfServer() {
  const { data, error, refresh } = usePoll((signal) => api.get("/v1/system", { signal }), { every: EVERY });
  const system = data.value;
  if (system === undefined)
    return (
      <SystemPage about="">
        <Pending error={error.value} retry={refresh} />
      </SystemPage>
    );
  const { model, version, uptime_seconds: uptime, training } = system;
  return (
    <SystemPage about={`${model} · version ${version} · up for ${formatDuration(uptime)}`}>
      {error.value !== undefined && <Problem error={error.value} retry={refresh} />}
      <Live system={system} />
      <Memory {...system} />
      {training !== null && <TrainingState training={training} />}
      {training === null && hasService() && (
        <Problem error="The database of jobs does not answer now, so workers and waiting jobs are not known." />
      )}
      <UsageIfKept />
    </SystemPage>
  );
}

/** A key that is no administrator's sees its own usage alone. */
function OfTenant() {
  const { version = "", model = "", tenant } = config.value ?? {};
  return (
    <SystemPage about={`${model} · version ${version}`}>
      {hasService() && <Usage />}
      <Empty
        title="Administrators see more"
        action={isSignedIn.value && <Button onClick={signOut}>Sign in with another key</Button>}
      >
        {tenant} can see only its own usage. To see batches, memory and workers, sign in with an admin key (
        <code>mos keys create --admin</code>).
      </Empty>
    </SystemPage>
  );
}
