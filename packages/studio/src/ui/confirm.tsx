import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { Dialog, DialogActions } from "./dialog.tsx";
import { Problem } from "./notice.tsx";

/** Work that a button starts: whether it goes on, and why it failed. */
function useWork(work: () => Promise<void>) {
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const start = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await work();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return { isBusy, error, start };
}

interface FormDialogProps {
  readonly title: string;
  /** The fields, which say why it failed. */
  readonly fields: (error: unknown) => ComponentChildren;
  /** The button that does it. */
  readonly action: string;
  readonly isReady: boolean;
  /** Does it, and closes the dialog. */
  readonly submit: () => Promise<void>;
  /** Without it the dialog stays until it is done. */
  readonly onClose?: () => void;
}

/** Asks for what an action needs, and does it. */
export function FormDialog({ title, fields, action, isReady, submit, onClose }: FormDialogProps) {
  const { isBusy, error, start } = useWork(submit);
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        {fields(error)}
        <DialogActions>
          {onClose && <Button onClick={onClose}>Cancel</Button>}
          <Button type="submit" kind="primary" busy={isBusy} disabled={!isReady}>
            {action}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface ConfirmProps {
  readonly title: string;
  /** What will come of it. */
  readonly children: ComponentChildren;
  /** The button that leaves everything as it is. */
  readonly keep: string;
  /** The button that does it. */
  readonly action: string;
  /** Does it, and closes the dialog. Where it throws, the dialog says why. */
  readonly act: () => Promise<void>;
  readonly close: () => void;
}

/** Asks before something is done that cannot be undone. */
export function Confirm({ title, children, keep, action, act, close }: ConfirmProps) {
  const { isBusy, error, start } = useWork(act);
  return (
    <Dialog title={title} onClose={close}>
      <p>{children}</p>
      {error !== undefined && <Problem error={error} />}
      <DialogActions>
        <Button onClick={close}>{keep}</Button>
        <Button kind="danger" busy={isBusy} onClick={start}>
          {action}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
