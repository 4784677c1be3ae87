// One prompt or conversation, and the answers of several models side by side.
import { useEffect, useRef, useState } from "preact/hooks";
import { api, usePoll } from "#api";
import { href, navigate, set, storedFlag, type ViewProps } from "#core";
import {
  Button,
  type Command,
  Empty,
  IconButton,
  LinkButton,
  Menu,
  Switch,
  useCommands,
  useDrops,
} from "#ui";
import "./compare.css";
import { Composer } from "./composer.tsx";
import type { Turn } from "./conversation.ts";
import { READINGS, read, reading, session } from "./current.ts";
import { chooseComparison, openComparison, saveComparison } from "./files.ts";
import { AnswerPane } from "./pane.tsx";
import { type ListedModel, Picker } from "./picker.tsx";
import { SettingsPanel } from "./settings-panel.tsx";
import { MAX_MODELS } from "./share.ts";
import { loadVotes, votes } from "./vote-store.ts";
import { VoteBar, VotesDialog } from "./voting.tsx";

/** Settings stand beside the answers where there is room, and else above them. */
const isOpen = storedFlag("compare.settings", innerWidth >= 1200);

/** Compares models, and says so in the address. */
function choose(models: readonly string[]): void {
  void session.choose(models);
  navigate(href("compare", undefined, models.length === 0 ? {} : { models: models.join(",") }), {
    replace: true,
  });
}

const namesIn = (text: string): readonly string[] =>
  [...new Set(text.split(",").filter((name) => name !== ""))].slice(0, MAX_MODELS);

/** Without a choice, the base and the adapter that came last: what somebody who has just trained wants to see. */
function firstChoice(models: readonly ListedModel[]): readonly string[] {
  const bases = models.filter(({ parent }) => parent === null).slice(0, 1);
  const adapters = models.filter(({ parent, root }) => parent !== null && root === parent);
  const newest = adapters.toSorted((a, b) => b.created - a.created).slice(0, 1);
  return [...bases, ...newest].map(({ id }) => id);
}

export default function View({ query }: ViewProps) {
  const models = usePoll(() => api.get("/v1/models"), { every: 10_000 });
  const listed = models.data.value?.data;
  const [showsVotes, setShowsVotes] = useState(false);
  const wanted = query["models"];
  useEffect(() => {
    if (wanted !== undefined && wanted !== session.models.value.join(","))
      void session.choose(namesIn(wanted));
  }, [wanted]);
  useEffect(() => {
    if (listed !== undefined && session.models.value.length === 0 && session.turns.value.length === 0)
      choose(firstChoice(listed));
  }, [listed === undefined]);
  useEffect(() => void loadVotes(), []);
  useCommands(() => COMMANDS, []);
  useDrops((file) => void openComparison(file)); // a saved comparison can be dropped anywhere
  const first = listed?.find(({ id }) => id === session.models.value[0]) ?? listed?.[0];
  return (
    <div class="compare">
      <header class="row compare-head">
        <h1>Compare</h1>
        <Picker models={listed} choose={choose} />
        <Actions onVotes={() => setShowsVotes(true)} />
      </header>
      <div class="compare-body">
        <div class="stack compare-main">
          <Turns hasAdapters={listed === undefined || listed.length > 1} />
          <Composer />
        </div>
        {isOpen.value && (
          <SettingsPanel defaults={first?.default_parameters} onClose={() => set(isOpen, false)} />
        )}
      </div>
      <div class="unseen" role="status" aria-live="polite" aria-atomic="false">
        {session.ends.value.map((end) => (
          <p key={end}>{end}</p>
        ))}
      </div>
      {showsVotes && <VotesDialog onClose={() => setShowsVotes(false)} />}
    </div>
  );
}

const COMMANDS: readonly Command[] = [
  { id: "compare.new", title: "New comparison", run: () => session.clear() },
  { id: "compare.save", title: "Save this comparison", run: saveComparison },
  { id: "compare.open", title: "Open a comparison", run: chooseComparison },
  { id: "compare.stop", title: "Stop all answers", run: () => session.stop() },
];

function Actions({ onVotes }: { readonly onVotes: () => void }) {
  const count = votes.value?.length ?? 0;
  const disabled = session.turns.value.length === 0;
  return (
    <div class="row actions">
      <fieldset class="readings">
        <legend class="unseen">Show answers as</legend>
        {READINGS.map(({ value, title }) => (
          <label key={value}>
            <input
              type="radio"
              name="reading"
              checked={reading.value === value}
              onInput={() => read(value)}
            />
            <span>{title}</span>
          </label>
        ))}
      </fieldset>
      <Switch label="Blind" value={session.isBlind.value} onInput={(isBlind) => session.setBlind(isBlind)} />
      <Button onClick={onVotes}>{count === 0 ? "Votes" : `Votes (${count})`}</Button>
      <IconButton
        label="Settings"
        icon="sliders"
        expanded={isOpen.value}
        onClick={() => set(isOpen, !isOpen.value)}
      />
      <Menu
        label="More"
        icon="more"
        items={[
          { title: "New comparison", icon: "plus", disabled, run: () => session.clear() },
          { title: "Save as a file", icon: "download", disabled, run: saveComparison },
          { title: "Open a file", icon: "upload", run: chooseComparison },
        ]}
      />
    </div>
  );
}

function Turns({ hasAdapters }: { readonly hasAdapters: boolean }) {
  const turns = session.turns.value;
  return (
    <div class="turns">
      {turns.length === 0 && <Start hasAdapters={hasAdapters} />}
      {turns.map((turn, i) => (
        <TurnView key={i} turn={turn} index={i} isLast={i === turns.length - 1} />
      ))}
    </div>
  );
}

const Start = ({ hasAdapters }: { readonly hasAdapters: boolean }) =>
  hasAdapters ? (
    <Empty title="Compare models side by side">
      They all get the same prompt and seed, and answer in one batch. Vote for the better answer, and your
      votes become training data. Drop a saved comparison here to open it.
    </Empty>
  ) : (
    <Empty title="No adapters yet" action={<LinkButton href={href("new-run")}>Start a run</LinkButton>}>
      Fine-tune an adapter, or add one to the server's adapter folder, to compare it with the base here.
    </Empty>
  );

interface TurnProps {
  readonly turn: Turn;
  readonly index: number;
  readonly isLast: boolean;
}

function TurnView({ turn, index, isLast }: TurnProps) {
  const section = useRef<HTMLElement>(null);
  const [edited, setEdited] = useState<string | undefined>(undefined);
  useEffect(() => section.current?.scrollIntoView({ block: "nearest" }), []);
  return (
    <section ref={section} class="stack turn" aria-label={`Turn ${index + 1}`}>
      {edited === undefined ? (
        <div class="asked">
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard */}
          <div class="asked-text" role="region" aria-label={`Text of turn ${index + 1}`} tabIndex={0}>
            {turn.user}
          </div>
          <IconButton label={`Edit turn ${index + 1}`} icon="edit" onClick={() => setEdited(turn.user)} />
          {isLast && (
            <IconButton
              label="Regenerate"
              icon="refresh"
              disabled={session.isRunning.value}
              onClick={() => void session.edit(index, turn.user)}
            />
          )}
        </div>
      ) : (
        <EditTurn text={edited} index={index} isLast={isLast} onInput={setEdited} />
      )}
      <div class="panes">
        {session.panes.value.map((pane) => (
          <AnswerPane key={pane.model} pane={pane} turn={turn} />
        ))}
      </div>
      {isLast && <VoteBar turn={turn} />}
    </section>
  );
}

interface EditTurnProps extends Omit<TurnProps, "turn"> {
  readonly text: string;
  readonly onInput: (text: string | undefined) => void;
}

function EditTurn({ text, index, isLast, onInput }: EditTurnProps) {
  const run = (): void => {
    onInput(undefined);
    void session.edit(index, text);
  };
  return (
    <form
      class="asked"
      onSubmit={(event) => {
        event.preventDefault();
        run();
      }}
    >
      <textarea
        class="control"
        aria-label={`Text of turn ${index + 1}`}
        rows={2}
        value={text}
        autofocus
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <Button onClick={() => onInput(undefined)}>Cancel</Button>
      <Button
        kind="primary"
        type="submit"
        disabled={text.trim() === ""}
        title={isLast ? undefined : "Later turns will be removed"}
      >
        Ask
      </Button>
    </form>
  );
}
