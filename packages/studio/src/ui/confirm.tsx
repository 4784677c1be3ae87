import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Button } from "./button.tsx";
import { Dialog, DialogActions } from "./dialog.tsx";
import { Problem } from "./notice.tsx";

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
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const confirm = async (): Promise<void> => {
    setBusy(true);
    try {
      await act();
    } catch (problem) {
      setError(problem);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={close}>
      <p>{children}</p>
      {error !== undefined && <Problem error={error} />}
      <DialogActions>
        <Button onClick={close}>{keep}</Button>
        <Button kind="danger" busy={isBusy} onClick={confirm}>
          {action}
        </Button>
      </DialogActions>
    </Dialog>
  );
}
