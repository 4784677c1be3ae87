import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { set } from "#core";
import "./overlay.css";
import { type Command, findCommands, palette } from "./palette.ts";

const STEPS: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };

/** The palette's window, while it is open. */
export function Palette() {
  return palette.isOpen.value ? <PaletteDialog /> : null;
}

function PaletteDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const [search, setSearch] = useState("");
  const [at, setAt] = useState(0);
  const found = findCommands(palette.commands.value, search);
  const active = found[Math.min(at, found.length - 1)];
  // before the next key, which is meant for it
  useLayoutEffect(() => dialog.current?.showModal(), []);
  useLayoutEffect(() => {
    dialog.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  }, [at]);
  const close = (): void => set(palette.isOpen, false);
  const run = (command: Command | undefined): void => {
    close();
    command?.run();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = STEPS[event.key];
    if (event.key === "Enter") run(active);
    else if (step !== undefined) setAt((at + step + found.length) % Math.max(1, found.length));
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={dialog}
      class="raised palette"
      aria-label="Commands"
      onClose={close}
      onPointerDown={(event) => event.target === dialog.current && close()}
    >
      <input
        role="combobox"
        aria-label="Search commands"
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={active && `${id}-${active.id}`}
        placeholder="Go to, or do …"
        autocomplete="off"
        spellcheck={false}
        autofocus
        value={search}
        onInput={(event) => {
          setSearch(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={onKeyDown}
      />
      <Found id={id} found={found} active={active} run={run} />
      {found.length === 0 && <p class="muted">No command has this name.</p>}
    </dialog>
  );
}

interface FoundProps {
  readonly id: string;
  readonly found: readonly Command[];
  readonly active: Command | undefined;
  readonly run: (command: Command) => void;
}

function Found({ id, found, active, run }: FoundProps) {
  return (
    <div role="listbox" id={id} aria-label="Commands">
      {found.map((command) => (
        // the field has the focus, and runs what is active
        // biome-ignore lint/a11y/useKeyWithClickEvents: see above
        <div
          key={command.id}
          id={`${id}-${command.id}`}
          class="beside"
          role="option"
          tabIndex={-1}
          aria-selected={command === active}
          onClick={() => run(command)}
        >
          <span class="fill">{command.title}</span>
          {command.keys?.split(" ").map((key) => (
            <kbd key={key}>{key}</kbd>
          ))}
        </div>
      ))}
    </div>
  );
}
