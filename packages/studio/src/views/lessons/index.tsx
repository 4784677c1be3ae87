// The lessons and checks of a tenant: contradictions to decide, what is left out, and new ones by hand.
import { useState } from "preact/hooks";
import { api, type components, messageOf, usePoll } from "#api";
import { countOf, saveFile, storedFlag, type ViewProps } from "#core";
import {
  Button,
  type Column,
  Empty,
  Field,
  FormDialog,
  IconButton,
  Page,
  Pending,
  Problem,
  Switch,
  Table,
  TextArea,
  Time,
  Toggle,
  toast,
} from "#ui";
import "./lessons.css";

type Lesson = components["schemas"]["Lesson"];

const showsContradictions = storedFlag("lessons.contradictions", false);

const answerOf = ({ messages }: Lesson): string | undefined => {
  const last = messages.at(-1);
  return last?.role === "assistant" ? last.content : undefined;
};
const questionOf = ({ messages }: Lesson): string =>
  messages.findLast(({ role }) => role === "user")?.content ?? "";

const download = async (): Promise<void> =>
  saveFile("lessons.jsonl", String(await api.get("/v1/learning/lessons/export")));

export default function View(_: ViewProps) {
  const contradicted = showsContradictions.value ? ("true" as const) : undefined;
  const { data, error, refresh } = usePoll(
    (signal) => api.get("/v1/learning/lessons", { query: { limit: 100, contradicted }, signal }),
    { every: 10_000 },
    [contradicted],
  );
  const [isAdding, setAdding] = useState(false);
  const list = data.value;
  const act = async (work: Promise<unknown>): Promise<void> => {
    await work.catch((problem: unknown) => toast(messageOf(problem), { kind: "bad" }));
    await refresh();
  };
  const change = (id: string, body: object) =>
    act(api.patch("/v1/learning/lessons/{id}", { params: { id }, body }));
  const remove = (id: string) => act(api.delete("/v1/learning/lessons/{id}", { params: { id } }));
  return (
    <Page
      title="Lessons"
      kind="lessons"
      beside={
        <div class="row">
          <Button icon="download" onClick={() => void act(download())}>
            Download
          </Button>
          <Button kind="primary" icon="plus" onClick={() => setAdding(true)}>
            Add lesson
          </Button>
        </div>
      }
    >
      {error.value !== undefined && list !== undefined && <Problem error={error.value} retry={refresh} />}
      {list === undefined ? (
        <Pending error={error.value} retry={refresh} />
      ) : (
        <Table
          label="Lessons"
          columns={columnsFor({ change, remove })}
          rows={list.data}
          keyOf={({ id }) => id}
          toolbar={<Toggle label="Only contradictions" of={showsContradictions} />}
          empty={
            <Empty title={contradicted ? "No contradictions" : "No lessons yet"}>
              {contradicted
                ? "No two lessons answer the same question differently."
                : "Correct an answer by POST /v1/feedback, vote in Compare, or add a lesson here."}
            </Empty>
          }
        />
      )}
      {list?.has_more === true && <p class="muted">The newest {countOf(list.data.length, "lesson")}.</p>}
      {isAdding && <AddLesson added={refresh} close={() => setAdding(false)} />}
    </Page>
  );
}

interface Actions {
  readonly change: (id: string, body: object) => Promise<void>;
  readonly remove: (id: string) => Promise<void>;
}

const columnsFor = ({ change, remove }: Actions): readonly Column<Lesson>[] => [
  {
    key: "question",
    title: "Question",
    width: "minmax(160px, 3fr)",
    value: questionOf,
    render: (row) => <span title={questionOf(row)}>{questionOf(row)}</span>,
  },
  {
    key: "answer",
    title: "Answer or remark",
    width: "minmax(160px, 3fr)",
    render: (row) => <span title={answerOf(row) ?? row.hint}>{answerOf(row) ?? row.hint}</span>,
  },
  {
    key: "kind",
    title: "Kind",
    width: "minmax(112px, 1fr)",
    value: ({ kind }) => kind,
    render: ({ kind, source, contradicts }) =>
      contradicts.length > 0 ? (
        <span class="contradicts">contradicts {countOf(contradicts.length, "other")}</span>
      ) : (
        (source?.kind ?? kind)
      ),
  },
  {
    key: "created",
    title: "Added",
    width: "96px",
    value: ({ created_at: at }) => at,
    render: ({ created_at: at }) => <Time at={at} />,
  },
  {
    key: "actions",
    title: "Use",
    width: "152px",
    render: (row) => (
      <span class="row">
        <Switch
          label={row.enabled ? "Learnt" : "Left out"}
          value={row.enabled}
          onInput={(enabled) => void change(row.id, { enabled })}
        />
        <IconButton
          label={`Delete the lesson ${questionOf(row)}`}
          icon="trash"
          onClick={() => void remove(row.id)}
        />
      </span>
    ),
  },
];

function AddLesson(props: { readonly added: () => Promise<void>; readonly close: () => void }) {
  const { added, close } = props;
  const [question, setQuestion] = useState("");
  const [answer, setAnswer] = useState("");
  const [hint, setHint] = useState("");
  const [isCheck, setCheck] = useState(false);
  const submit = async (): Promise<void> => {
    const answered = answer.trim() === "" ? [] : [{ role: "assistant", content: answer }];
    const body = {
      messages: [{ role: "user", content: question }, ...answered],
      ...(hint.trim() === "" ? {} : { hint }),
      ...(isCheck ? { kind: "check" } : {}),
    };
    await api.post("/v1/learning/lessons", { body });
    close();
    await added();
  };
  return (
    <FormDialog
      title="Add lesson"
      action="Add lesson"
      isReady={question.trim() !== "" && (answer + hint).trim() !== ""}
      submit={submit}
      onClose={close}
      fields={(error) => (
        <>
          <Field label="Question">
            <TextArea value={question} onInput={setQuestion} rows={2} />
          </Field>
          <Field label="Answer" hint="The whole answer that it should give.">
            <TextArea value={answer} onInput={setAnswer} rows={3} />
          </Field>
          <Field label="Remark" hint="What a good answer heeds, such as: prices in euros.">
            <TextArea value={hint} onInput={setHint} rows={2} />
          </Field>
          <Switch label="A check: a question that has to stay right" value={isCheck} onInput={setCheck} />
          {error !== undefined && <Problem error={error} />}
        </>
      )}
    />
  );
}
