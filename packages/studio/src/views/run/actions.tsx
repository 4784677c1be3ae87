// What can be done with a job.
import { useSignal } from "@preact/signals";
import { api, config, hasEnded, messageOf, type Run } from "#api";
import { href, navigate } from "#core";
import { Button, Confirm, toast, useCommands } from "#ui";

interface ActionsProps {
  readonly run: Run;
  /** Reads the run again, once something was done to it. */
  readonly refresh: () => Promise<void>;
}

type Change = "pause" | "resume" | "cancel";

const DONE: Readonly<Record<Change, string>> = {
  pause: "The run will pause at its next checkpoint",
  resume: "Run resumed",
  cancel: "Run cancelled",
};

/** Pause or resume, cancel, and duplicate; also in the command palette. */
export function JobActions({ run, refresh }: ActionsProps) {
  const { id, status } = run;
  const busy = useSignal<Change | undefined>(undefined);
  const isAsking = useSignal(false);
  const change = async (what: Change): Promise<void> => {
    busy.value = what;
    try {
      await api.post(`/v1/fine_tuning/jobs/{id}/${what}`, { params: { id } });
      toast(DONE[what], { kind: "good" });
    } catch (error) {
      toast(messageOf(error), { kind: "bad" });
    }
    await refresh();
    busy.value = undefined;
  };
  const isOver = hasEnded(run);
  const turn = status === "paused" ? "resume" : "pause";
  const duplicate = (): void => navigate(href("new-run", undefined, { from: id }));
  useCommands(
    () => [
      { id: "run.duplicate", title: "Duplicate this run", run: duplicate },
      ...(isOver
        ? []
        : [
            {
              id: "run.turn",
              title: turn === "pause" ? "Pause this run" : "Resume this run",
              run: () => void change(turn),
            },
            {
              id: "run.cancel",
              title: "Cancel this run",
              run: () => {
                isAsking.value = true;
              },
            },
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
            busy={busy.value === turn}
            onClick={() => void change(turn)}
          >
            {turn === "pause" ? "Pause" : "Resume"}
          </Button>
          <Button
            icon="stop"
            busy={busy.value === "cancel"}
            onClick={() => {
              isAsking.value = true;
            }}
          >
            Cancel
          </Button>
        </>
      )}
      {config.value?.features.service !== false && (
        <Button icon="copy" onClick={duplicate}>
          Duplicate
        </Button>
      )}
      {isAsking.value && (
        <Confirm
          title="Cancel this run?"
          keep="Keep running"
          action="Cancel run"
          act={() => {
            isAsking.value = false;
            return change("cancel");
          }}
          close={() => {
            isAsking.value = false;
          }}
        >
          {run.name} will stop and can't be resumed. Its checkpoints are kept. To continue later, pause it
          instead.
        </Confirm>
      )}
    </div>
  );
}
