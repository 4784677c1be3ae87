// The state of the form: the draft, the files, and the preview that follows them.
import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import { ApiProblem, api, config, type JsonOf, messageOf, type StoredFile } from "#api";
import { set } from "#core";
import { type Draft, type Drafted, EMPTY_DRAFT, fromJob, toRequest } from "./draft.ts";
import { readFields, type SettingField } from "./fields.ts";

/** What a job would be. */
export type Preview = JsonOf<"/v1/fine_tuning/preview", "post">;

/** A file that was chosen, and what is wrong with it. */
export interface ChosenFile extends Pick<StoredFile, "id" | "filename" | "bytes"> {
  readonly problems: JsonOf<"/v1/files/{id}/problems">["data"];
  readonly hasMore: boolean;
}

/** Lines that are shown together. */
export const LINES_SHOWN = 3;

/** Milliseconds without a change before a preview is asked for. */
const PAUSE_MS = 400;

/** What a file is for. */
export type FilePart = "training" | "validation";

const openSignals = () => ({
  draft: signal<Draft>({ ...EMPTY_DRAFT, model: config.value?.model ?? "" }),
  fields: signal<readonly SettingField[]>([]),
  models: signal<readonly string[]>([config.value?.model ?? ""]),
  training: signal<ChosenFile | undefined>(undefined),
  validation: signal<ChosenFile | undefined>(undefined),
  /** What the training file is for, where that is not plain training. */
  objective: signal<string | undefined>(undefined),
  /** The line from which on the preview shows some. */
  firstLine: signal(1),
  /** The last one that was made, of this training file. */
  preview: signal<Preview | undefined>(undefined),
  isPreviewing: signal(false),
  /** Why there is no preview of what is filled in now, or no job. */
  problem: signal<ApiProblem | undefined>(undefined),
  /** Why the form cannot be shown. */
  failure: signal<unknown>(undefined),
});

type Signals = ReturnType<typeof openSignals>;

/** The form, and what it shows. */
export interface Form extends Signals {
  readonly drafted: ReadonlySignal<Drafted>;
  /** Takes a file in place of the one before, or none. */
  choose(part: FilePart, file: ChosenFile | undefined): void;
  change(part: Partial<Draft>): void;
  setValue(name: string, text: string): void;
  /** Whether a job can be made of what is filled in. */
  readonly isReady: ReadonlySignal<boolean>;
  dispose(): void;
}

/** A file of the server with all that is wrong with it. */
export async function describeFile({ id, filename, bytes, status }: StoredFile): Promise<ChosenFile> {
  const known = { id, filename, bytes };
  if (status === "processed") return { ...known, problems: [], hasMore: false };
  const { data, has_more } = await api.get("/v1/files/{id}/problems", { params: { id } });
  return { ...known, problems: data, hasMore: has_more };
}

/** Whether a file can be trained on. */
export const isUsable = (file: ChosenFile | undefined): file is ChosenFile => file?.problems.length === 0;

const areUsable = ({ training, validation }: Pick<Signals, FilePart>): boolean =>
  isUsable(training.value) && (validation.value === undefined || isUsable(validation.value));

async function findFile(id: string): Promise<ChosenFile | undefined> {
  return describeFile(await api.get("/v1/files/{id}", { params: { id } })).catch(() => undefined);
}

/** Reads what a form is about, and the job that is to be done again. */
async function load({ draft, fields, models, training, validation }: Signals, from?: string): Promise<void> {
  const base = config.value?.model ?? "";
  const [document, served, job] = await Promise.all([
    api.send("GET", "/openapi.json"),
    api.get("/v1/models"),
    from === undefined ? undefined : api.get("/v1/fine_tuning/jobs/{id}", { params: { id: from } }),
  ]);
  const found = readFields(document);
  const tuned = served.data.map(({ id }) => id).filter((id) => id.startsWith(`ft:${base}:`));
  if (job !== undefined) {
    const again = fromJob(job, found);
    training.value = await findFile(again.trainingFile);
    validation.value = again.validationFile === "" ? undefined : await findFile(again.validationFile);
    draft.value = again;
  }
  models.value = [base, ...tuned.sort()];
  fields.value = found; // the last: the form is shown then
}

/** Whatever was thrown, as a problem. */
export const toProblem = (error: unknown): ApiProblem =>
  error instanceof ApiProblem ? error : new ApiProblem(messageOf(error), { status: 0 });

/** Lines to show: the first ones until somebody turns the page, as a file may begin with empty lines. */
function shownLines(first: number, total: number): { readonly lines?: readonly number[] } {
  if (first === 1) return {};
  const length = Math.max(1, Math.min(LINES_SHOWN, total - first + 1));
  return { lines: Array.from({ length }, (_, i) => first + i) };
}

/** The objectives that learn from files, by the codes that refuse these for another one. */
const OBJECTIVES: Readonly<Record<string, string>> = {
  file_of_examples: "sft",
  file_of_pairs: "dpo",
  file_of_ratings: "kto",
  file_of_prompts: "grpo",
  file_of_hints: "sdft",
};

/** Takes the objective that a refused file is for, unless another one was chosen; then it says what is wrong. */
function takeProblem(error: unknown, { draft, objective, problem }: Signals): void {
  const found = toProblem(error);
  const fitting = found.param === "mos.objective" ? OBJECTIVES[found.code ?? ""] : undefined;
  if (fitting === undefined || draft.value.values["objective"]) problem.value = found;
  else objective.value = fitting;
}

/** Asks for a preview some time after each change. What was asked before is given up, so that one is under way at most. */
function followDraft(form: Signals & Pick<Form, "drafted">): () => void {
  const { drafted, firstLine, problem, preview, isPreviewing } = form;
  let wanted = "";
  return effect(() => {
    const { body, problems } = drafted.value;
    isPreviewing.value = false;
    if (!areUsable(form) || body.model === "" || Object.keys(problems).length > 0) return;
    const total = countLines(preview.peek());
    // a name changes nothing of it
    const { suffix: _, ...asked } = { ...body, ...shownLines(firstLine.value, total) };
    const text = JSON.stringify(asked);
    if (text === wanted) {
      problem.value = undefined;
      return;
    }
    const stop = new AbortController();
    const timer = setTimeout(async () => {
      isPreviewing.value = true;
      try {
        const made = await api.post("/v1/fine_tuning/preview", { body: asked, signal: stop.signal });
        if (stop.signal.aborted) return;
        preview.value = made;
        problem.value = undefined;
        wanted = text;
      } catch (error) {
        if (!stop.signal.aborted) takeProblem(error, form);
      } finally {
        if (!stop.signal.aborted) isPreviewing.value = false;
      }
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  });
}

/** Lines of the training file, as far as a preview tells. */
export const countLines = (preview: Preview | undefined): number =>
  preview === undefined ? 0 : preview.training.examples + preview.training.dropped;

/** A form; of a job that is to be done again, filled in as that was. */
export function openForm(from?: string): Form {
  const signals = openSignals();
  const { draft, fields, training, validation, objective, problem, preview, firstLine } = signals;
  const drafted = computed(() =>
    toRequest(
      { ...draft.value, trainingFile: training.value?.id ?? "", validationFile: validation.value?.id ?? "" },
      { fields: fields.value, base: config.value?.model ?? "", objective: objective.value },
    ),
  );
  const isReady = computed(
    () =>
      areUsable(signals) && Object.keys(drafted.value.problems).length === 0 && problem.value?.status !== 400,
  );
  load(signals, from).catch((error: unknown) => set(signals.failure, error));
  return {
    ...signals,
    drafted,
    isReady,
    choose: (part, file) => {
      if (part === "training") {
        preview.value = objective.value = problem.value = undefined;
        firstLine.value = 1;
      }
      signals[part].value = file;
    },
    change: (part) => set(draft, { ...draft.value, ...part }),
    setValue: (name, text) => set(draft, { ...draft.value, values: { ...draft.value.values, [name]: text } }),
    dispose: followDraft({ ...signals, drafted }),
  };
}
