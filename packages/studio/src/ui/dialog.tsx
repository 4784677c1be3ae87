import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { IconButton } from "./button.tsx";
import "./overlay.css";

interface DialogProps {
  readonly title: string;
  /** Without it the dialog stays until what it asks for is done. */
  readonly onClose?: (() => void) | undefined;
  readonly children: ComponentChildren;
}

/** A question or a form above the page. It is open as long as it is rendered; Escape and a press beside it close it. */
export function Dialog({ title, onClose, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // before the next key, which is meant for it
  useLayoutEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="raised dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose?.();
      }}
      onPointerDown={(event) => {
        // its content fills it: only what is around it is the dialog itself
        if (event.target === dialog.current) onClose?.();
      }}
    >
      <div class="stack dialog-content">
        <header class="beside">
          <h2 class="fill" id={id}>
            {title}
          </h2>
          {onClose && <IconButton label="Close" icon="close" onClick={onClose} />}
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** The buttons at the end of a dialog. */
export function DialogActions({ children }: { readonly children: ComponentChildren }) {
  return <footer class="row dialog-actions">{children}</footer>;
}
