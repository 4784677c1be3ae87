import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Icon, type IconName } from "./icon.tsx";
import "./overlay.css";

/** A line of a menu. */
export interface MenuItem {
  readonly title: string;
  readonly icon?: IconName;
  readonly disabled?: boolean;
  /** Marked or not; such an item leaves the menu open. */
  readonly checked?: boolean;
  readonly run: () => void;
}

interface MenuProps {
  /** The button's name. */
  readonly label: string;
  readonly icon: IconName;
  readonly items: readonly MenuItem[];
}

const STEPS: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };

/** Moves the focus within a menu; it ends where it began. */
function moveFocus(event: KeyboardEvent & { readonly currentTarget: HTMLElement }): void {
  const items = [...event.currentTarget.querySelectorAll<HTMLElement>("button:not(:disabled)")];
  const at = items.findIndex((item) => item.matches(":focus"));
  const to = { Home: 0, End: items.length - 1 }[event.key] ?? at + (STEPS[event.key] ?? Number.NaN);
  if (Number.isNaN(to)) return;
  event.preventDefault();
  items[(to + items.length) % items.length]?.focus();
}

function Items({ items, close }: Pick<MenuProps, "items"> & { readonly close: () => void }) {
  return items.map(({ title, icon, disabled, checked, run }) => (
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: only an item that can be marked has the attribute
    <button
      key={title}
      type="button"
      class="beside"
      role={checked === undefined ? "menuitem" : "menuitemcheckbox"}
      aria-checked={checked}
      tabIndex={-1}
      disabled={disabled}
      onClick={() => {
        if (checked === undefined) close();
        run();
      }}
    >
      {checked === undefined ? icon && <Icon name={icon} /> : <Tick on={checked} />}
      <span>{title}</span>
    </button>
  ));
}

const Tick = ({ on }: { readonly on: boolean }) => <span class="tick">{on && <Icon name="check" />}</span>;

/** A button that opens a list of actions, above everything else and within the window. */
export function Menu({ label, icon, items }: MenuProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  useEffect(() => {
    const [anchor, shown] = [button.current, list.current];
    if (!isOpen || anchor === null || shown === null) return;
    place(shown, anchor);
    shown.querySelector<HTMLElement>("button:not(:disabled)")?.focus();
  }, [isOpen]);
  const close = (): void => list.current?.hidePopover();
  return (
    <>
      <button
        ref={button}
        type="button"
        class="icon-button"
        title={label}
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        popovertarget={id}
      >
        <Icon name={icon} />
      </button>
      <div
        ref={list}
        id={id}
        popover="auto"
        role="menu"
        aria-label={label}
        class="raised menu"
        onToggle={(event) => setOpen(event.newState === "open")}
        onKeyDown={moveFocus}
      >
        {isOpen && <Items items={items} close={close} />}
      </div>
    </>
  );
}

const MARGIN = 8;

/** Below its button, or above it where there is no room, and never beyond the window's edge. */
function place(list: HTMLElement, anchor: HTMLElement): void {
  const { left, right, top, bottom } = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = list;
  const start = left + width + MARGIN > innerWidth ? right - width : left;
  const below = bottom + height + MARGIN <= innerHeight;
  list.style.left = `${Math.max(MARGIN, start)}px`;
  list.style.top = `${Math.max(MARGIN, below ? bottom + 4 : top - height - 4)}px`;
}
