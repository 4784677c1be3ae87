// Which models are compared: the chosen ones, and a field that finds others.
import { useId, useState } from "preact/hooks";
import type { components } from "#api";
import { IconButton } from "#ui";
import { session } from "./current.ts";
import { MAX_MODELS } from "./share.ts";

/** A model that the server lists; `parent` is the base of an adapter, `root` what an alias stands for. */
export type ListedModel = components["schemas"]["Model"];

interface PickerProps {
  /** Undefined until they are known. */
  readonly models: readonly ListedModel[] | undefined;
  readonly choose: (models: readonly string[]) => void;
}

export function Picker({ models, choose }: PickerProps) {
  const chosen = session.models.value;
  const left = (models ?? []).filter(({ id }) => !chosen.includes(id));
  return (
    <div class="row picker">
      <ul class="row" aria-label="Models to compare">
        {chosen.map((id) => (
          <li key={id} class="raised beside">
            <span class="cut" title={id}>
              {id}
            </span>
            <IconButton
              label={`Remove ${id}`}
              icon="close"
              onClick={() => choose(chosen.filter((other) => other !== id))}
            />
          </li>
        ))}
      </ul>
      {chosen.length < MAX_MODELS && left.length > 0 && (
        <Finder models={left} onChoose={(id) => choose([...chosen, id])} />
      )}
    </div>
  );
}

/** Models shown at a time; who has more searches. */
const MOST = 50;

const describe = ({ id, parent, root }: ListedModel): string =>
  parent === null ? "base" : root !== parent && root !== id ? `alias of ${root}` : "adapter";

/** A field with a list of what fits its text. */
function Finder(props: { readonly models: readonly ListedModel[]; readonly onChoose: (id: string) => void }) {
  const { models, onChoose } = props;
  const id = useId();
  const [search, setSearch] = useState("");
  const [isOpen, setOpen] = useState(false);
  const [at, setAt] = useState(0);
  const found = models
    .filter((model) => model.id.toLowerCase().includes(search.trim().toLowerCase()))
    .slice(0, MOST);
  const marked = Math.min(at, found.length - 1);
  const pick = (model: ListedModel | undefined): void => {
    if (model === undefined) return;
    onChoose(model.id);
    setSearch("");
    setAt(0);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") setOpen(false);
    else if (event.key === "Enter" && isOpen) pick(found[marked]);
    else if (step !== undefined) {
      setOpen(true);
      setAt((marked + (isOpen ? step : 0) + found.length) % Math.max(1, found.length));
    } else return;
    event.preventDefault();
  };
  return (
    <div class="finder">
      <input
        class="control"
        role="combobox"
        aria-label="Add a model"
        aria-expanded={isOpen}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={isOpen && marked >= 0 ? `${id}-${marked}` : undefined}
        placeholder="Add a model"
        autocomplete="off"
        spellcheck={false}
        value={search}
        onFocus={() => setOpen(true)}
        onClick={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={onKeyDown}
        onInput={(event) => {
          setSearch(event.currentTarget.value);
          setOpen(true);
          setAt(0);
        }}
      />
      <div id={`${id}-list`} class="raised" role="listbox" aria-label="Models" hidden={!isOpen}>
        {found.map((model, i) => (
          <div
            key={model.id}
            id={`${id}-${i}`}
            role="option"
            aria-selected={i === marked}
            // before the field loses the focus, and with it the list
            onPointerDown={(event) => {
              event.preventDefault();
              pick(model);
            }}
          >
            <span>{model.id}</span> <span class="muted">{describe(model)}</span>
          </div>
        ))}
        {found.length === 0 && <p class="muted">No models match</p>}
      </div>
    </div>
  );
}
