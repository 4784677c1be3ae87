// What can be done with a job.
import { useState } from "preact/hooks";
import { api, config, hasEnded, messageOf, type Run } from "#api";
import { href, navigate } from "#core";
import { Button, Confirm, toast, useCommands } from "#ui";

const DONE = {
  pause: "The run will pause at its next checkpoint",
  resume: "Run resumed",
  cancel: "Run cancelled",
} as const;

/** Pause or resume, cancel, and duplicate; also in the command palette. `refresh` reads the run again. */
export function JobActions({ run, refresh }: { readonly run: Run; readonly refresh: () => Promise<void> }) {
  const { id, status } = run;
  const [busy, setBusy] = useState<keyof typeof DONE>();
  const [isAsking, setAsking] = useState(false);
  const change = async (what: keyof typeof DONE): Promise<void> => {
    setBusy(what);
    try {
      await api.post(`/v1/fine_tuning/jobs/{id}/${what}`, { params: { id } });
      toast(DONE[what], { kind: "good" });
    } catch (error) {
      toast(messageOf(error), { kind: "bad" });
    }
    await refresh();
    setBusy(undefined);
  };
  const isOver = hasEnded(run);
  const turn = status === "paused" ? "resume" : "pause";
  const title = turn === "pause" ? "Pause" : "Resume";
  const duplicate = (): void => navigate(href("new-run", undefined, { from: id }));
  useCommands(
    () => [
      { id: "run.duplicate", title: "Duplicate this run", run: duplicate },
      ...(isOver
        ? []
        : [
            { id: "run.turn", title: `${title} this run`, run: () => void change(turn) },
            { id: "run.cancel", title: "Cancel this run", run: () => setAsking(true) },
          ]),
    ],
    [id, isOver, turn],
  );
  return (
    <div class="row">
      {!isOver && (
        <>
          <Button
            icon={turn === "pause" ? "pause" : "play"}
            busy={busy === turn}
            onClick={() => void change(turn)}
          >
            {title}
          </Button>
          <Button icon="stop" busy={busy === "cancel"} onClick={() => setAsking(true)}>
            Cancel
          </Button>
        </>
      )}
      {config.value?.features.service !== false && (
        <Button icon="copy" onClick={duplicate}>
          Duplicate
        </Button>
      )}
      {isAsking && (
        <Confirm
          title="Cancel this run?"
          keep="Keep running"
          action="Cancel run"
          act={() => {
            setAsking(false);
            return change("cancel");
          }}
          close={() => setAsking(false)}
        >
          {run.name} will stop and can't be resumed. Its checkpoints are kept. To continue later, pause it
          instead.
        </Confirm>
      )}
    </div>
  );
}
