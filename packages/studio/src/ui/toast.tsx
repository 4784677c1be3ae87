import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { IconButton } from "./button.tsx";
import { Icon } from "./icon.tsx";
import "./overlay.css";

const SECONDS = { info: 5, good: 5, bad: 12 };
type Kind = keyof typeof SECONDS;

const shown = signal<readonly { readonly id: number; readonly text: string; readonly kind: Kind }[]>([]);
let nextId = 0;

/** More of them would hide the page. */
const MOST = 4;

const dismiss = (id: number): void => {
  shown.value = shown.value.filter((toast) => toast.id !== id);
};

/** Says something in passing, such as that an action is done, or why it is not. */
export function toast(text: string, { kind = "info" }: { readonly kind?: Kind } = {}): void {
  const id = nextId++;
  shown.value = [...shown.value, { id, text, kind }].slice(-MOST);
  setTimeout(dismiss, 1000 * SECONDS[kind], id);
}

/** The place of toasts. It lies above dialogs, too. */
export function Toasts() {
  const place = useRef<HTMLDivElement>(null);
  const toasts = shown.value;
  useEffect(() => {
    if (place.current === null) return;
    // shown anew, it comes above a dialog that opened since
    if (place.current.matches(":popover-open")) place.current.hidePopover();
    if (toasts.length > 0) place.current.showPopover();
  }, [toasts]);
  return (
    <div ref={place} popover="manual" class="stack toasts" role="status">
      {toasts.map(({ id, text, kind }) => (
        <div key={id} class={`raised beside toast ${kind}`}>
          {kind !== "info" && <Icon name={kind === "good" ? "check" : "alert"} />}
          <p class="fill">{text}</p>
          <IconButton label="Dismiss" icon="close" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}
