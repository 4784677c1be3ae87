import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { config, upload } from "#api";
import { countOf, formatBytes } from "#core";
import { Button, Icon, IconButton, Problem, useDrops } from "#ui";
import { type ChosenFile, describeFile, type FilePart, type Form } from "./form.ts";

/** An upload under way. */
interface Sending {
  readonly name: string;
  /** Undefined while the server checks the file. */
  readonly share: number | undefined;
}

const TITLES: Readonly<Record<FilePart, string>> = {
  training: "Training file",
  validation: "Validation file",
};

/** Files that the server offers beside the page. */
async function exampleFile(name: string): Promise<File> {
  const answer = await fetch(`./example/${name}`);
  if (!answer.ok)
    throw new Error(`the example data cannot be read: the server answered with ${answer.status}`);
  return new File([await answer.blob()], name);
}

/** Uploads files for a form, one at a time. */
function useUploads(form: Form) {
  const sending = useSignal<Sending | undefined>(undefined);
  const problem = useSignal<unknown>(undefined);
  const stop = useRef(new AbortController());
  useEffect(() => () => stop.current.abort(), []);
  const send = async (part: FilePart, file: File): Promise<void> => {
    stop.current.abort();
    stop.current = new AbortController();
    const { signal } = stop.current;
    problem.value = undefined;
    const show = (share: number | undefined): void => {
      if (!signal.aborted) sending.value = { name: file.name, share };
    };
    show(0);
    try {
      const onProgress = (share: number): void => show(share < 1 ? share : undefined);
      const stored = await upload(file, { onProgress, signal });
      const chosen = await describeFile(stored);
      if (!signal.aborted) form.choose(part, chosen);
    } catch (error) {
      if (!signal.aborted) problem.value = error;
    } finally {
      if (!signal.aborted) sending.value = undefined;
    }
  };
  const cancel = (): void => {
    stop.current.abort();
    sending.value = undefined;
  };
  const sendExample = async (): Promise<void> => {
    try {
      await send("training", await exampleFile("train.jsonl"));
      await send("validation", await exampleFile("validation.jsonl"));
    } catch (error) {
      problem.value = error;
    }
  };
  return { sending, problem, send, cancel, sendExample };
}

type Uploads = ReturnType<typeof useUploads>;

/** Training and validation data. */
export function DataStep({ form }: { readonly form: Form }) {
  const uploads = useUploads(form);
  const { sending, problem } = uploads;
  const isOver = useDrops((file) => void uploads.send("training", file));
  return (
    <section class={isOver.value ? "card stack over" : "card stack"} aria-label="Data">
      <h2>Data</h2>
      {sending.value !== undefined ? (
        <SendingRow sending={sending.value} cancel={uploads.cancel} />
      ) : form.training.value === undefined ? (
        <DropZone uploads={uploads} isOver={isOver.value} />
      ) : (
        <FileRows form={form} uploads={uploads} />
      )}
      {problem.value !== undefined && <Problem error={problem.value} />}
    </section>
  );
}

function SendingRow(props: { readonly sending: Sending; readonly cancel: () => void }) {
  const { name, share } = props.sending;
  const what = share === undefined ? "Checking" : "Uploading";
  return (
    <div class="row file-row">
      <span class="file-name">{name}</span>
      <span class="muted" role="status">
        {what}
      </span>
      <progress aria-label={`${what} ${name}`} value={share} max={1} />
      <Button onClick={props.cancel}>Cancel</Button>
    </div>
  );
}

interface PickerProps {
  readonly part: FilePart;
  readonly uploads: Uploads;
}

/** The browser's own choice of a file. A file that is chosen twice is sent twice: it may have changed. */
function FileInput({ part, uploads }: PickerProps) {
  return (
    <input
      type="file"
      class="unseen"
      aria-label={TITLES[part]}
      accept=".jsonl,.ndjson,.json,.txt"
      onChange={({ currentTarget }) => {
        const [file] = currentTarget.files ?? [];
        if (file !== undefined) void uploads.send(part, file);
        currentTarget.value = "";
      }}
    />
  );
}

function DropZone({ uploads, isOver }: { readonly uploads: Uploads; readonly isOver: boolean }) {
  return (
    <div class="stack drop-row">
      {/* biome-ignore lint/a11y/noLabelWithoutControl: its control is the input within FileInput */}
      <label class={isOver ? "stack drop over" : "stack drop"}>
        <FileInput part="training" uploads={uploads} />
        <Icon name="upload" />
        <span>
          <strong>Drop a JSON Lines file</strong>, or choose one
        </span>
        <span class="muted">
          One example per line: {'{"messages": […]}'}, {'{"prompt": …, "completion": …}'}, or instruction and
          output
        </span>
      </label>
      {config.value?.example !== false && (
        <Button onClick={() => void uploads.sendExample()}>Use the example data</Button>
      )}
    </div>
  );
}

function FileRows({ form, uploads }: { readonly form: Form; readonly uploads: Uploads }) {
  return (
    <>
      <FileRow part="training" {...{ form, uploads }} />
      {form.validation.value === undefined ? (
        <div class="row file-row">
          <span class="file-kind muted small">Validation</span>
          <span class="muted">None. Loss on unseen examples won't be measured.</span>
          <ChooseButton part="validation" uploads={uploads} title="Add" />
        </div>
      ) : (
        <FileRow part="validation" {...{ form, uploads }} />
      )}
    </>
  );
}

function ChooseButton({ part, uploads, title }: PickerProps & { readonly title: string }) {
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: its control is the input within FileInput
    <label class="button plain choose">
      <FileInput part={part} uploads={uploads} />
      <span>{title}</span>
    </label>
  );
}

function FileRow({ part, form, uploads }: PickerProps & { readonly form: Form }) {
  const file = form[part].value;
  if (file === undefined) return null;
  return (
    <>
      <div class="row file-row">
        <span class="file-kind muted small">{part === "training" ? "Training" : "Validation"}</span>
        <span class="file-name">{file.filename}</span>
        <span class="muted">{formatBytes(file.bytes)}</span>
        <ChooseButton part={part} uploads={uploads} title="Replace" />
        <IconButton
          label={`Remove the ${part} file`}
          icon="close"
          onClick={() => form.choose(part, undefined)}
        />
      </div>
      {file.problems.length > 0 && <WrongLines file={file} />}
    </>
  );
}

/** All that is wrong with a file, so that it can be mended at once. */
function WrongLines({ file: { filename, problems, hasMore } }: { readonly file: ChosenFile }) {
  const count = hasMore
    ? `More than ${problems.length} invalid lines`
    : countOf(problems.length, "invalid line");
  const title =
    problems[0]?.line == null ? "This file can't be used" : `${count}: fix the file, then replace it`;
  return (
    <div class="wrong-lines" role="alert">
      <h3>{title}</h3>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
      <ol tabIndex={0} aria-label={`Problems of ${filename}`}>
        {problems.map(({ line, message }, i) => (
          <li key={i}>
            {line !== null && <span class="line-number muted mono">{line}</span>}
            <span>{message}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}
