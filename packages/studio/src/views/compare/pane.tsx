// One model's answer to one turn.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { formatCount, formatDuration, formatRate } from "#core";
import { Button, Copy, Icon } from "#ui";
import { type Answer, firstTokenTime, isOver, tokensPerSecond } from "./answer.ts";
import { type Reading, reading, session } from "./current.ts";
import { diffWords } from "./diff.ts";
import "./pane.css";
import type { Pane, Turn } from "./conversation.ts";
import { Tokens } from "./tokens.tsx";

/** A pane of a fixed size, within which the answer scrolls. */
export function AnswerPane({ pane, turn }: { readonly pane: Pane; readonly turn: Turn }) {
  const { model, name } = pane;
  const answer = turn.answers.get(model)?.value;
  const isHidden = session.isHidden.value;
  if (answer === undefined) return null;
  return (
    <article class="card pane" aria-label={name}>
      <header>
        <h3 class="cut" title={name}>
          {name}
        </h3>
        <Copy text={answer.text} label={`Copy the answer of ${name}`} />
        <p class="figures muted small">
          {isHidden ? "Figures are shown after the vote" : <Figures answer={answer} />}
        </p>
      </header>
      <Body answer={answer} name={name} turn={turn} />
      {(answer.status === "failed" || answer.status === "queued") && (
        <Unanswered answer={answer} pane={pane} />
      )}
    </article>
  );
}

const FINISHES: Readonly<Record<string, string>> = {
  length: "cut off at the limit of tokens",
  tool_calls: "calls a tool",
};

function Figures({ answer }: { readonly answer: Answer }) {
  const { status, count, finish } = answer;
  if (status === "queued") return <>{session.isRunning.value ? "Waits for its turn" : "Not asked"}</>;
  if (status === "sent") return <>Waiting for the first token</>;
  const first = firstTokenTime(answer);
  const end = status === "stopped" ? "stopped" : FINISHES[finish ?? ""];
  return (
    <>
      <span title="Tokens per second after the first">{formatRate(tokensPerSecond(answer))}</span>
      <span title="Time to first token">{first === undefined ? "–" : formatDuration(first / 1000)}</span>
      <span>{`${formatCount(count)} tokens`}</span>
      {end !== undefined && <span class="muted">{end}</span>}
    </>
  );
}

interface BodyProps {
  readonly answer: Answer;
  readonly name: string;
  readonly turn: Turn;
}

/** Pixels from the end within which a reader follows it. */
const FOLLOW = 24;

function Body({ answer, name, turn }: BodyProps) {
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const { text, reasoning, calls } = answer;
  useLayoutEffect(() => {
    if (box.current !== null && follows.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text, reasoning, calls]);
  return (
    <div
      ref={box}
      class="pane-body"
      role="region"
      aria-label={`Answer of ${name}`}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard
      tabIndex={0}
      onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => {
        follows.current = scrollHeight - scrollTop - clientHeight < FOLLOW;
      }}
    >
      {reasoning !== "" && (
        <details>
          <summary class="muted">Reasoning</summary>
          <div class="answer-text muted">{reasoning}</div>
        </details>
      )}
      <AnswerText answer={answer} name={name} turn={turn} />
      {calls.map((call) => (
        <figure key={call.id} class="call">
          <figcaption>
            Calls <code>{call.name}</code>
          </figcaption>
          <pre>{isOver(answer) ? indented(call.text) : call.text}</pre>
        </figure>
      ))}
    </div>
  );
}

/** JSON by lines, and as it came where it is cut off or something else. */
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}

/** The text as the reader wants it, once it is complete; before that, plain. */
function AnswerText({ answer, name, turn }: BodyProps) {
  const wanted: Reading = isOver(answer) ? reading.value : "text";
  if (wanted === "differences") return <Differences answer={answer} turn={turn} />;
  if (wanted === "text" || answer.text === "") return <PlainText text={answer.text} />;
  if (answer.tokens.length > 0) return <Tokens name={name} tokens={answer.tokens} />;
  return (
    <>
      <div class="row note muted">
        <p>This answer has no probabilities.</p>
        <Button onClick={() => void session.again(turn)}>Regenerate with the same seed</Button>
      </div>
      <PlainText text={answer.text} />
    </>
  );
}

/** Characters from which on the next line begins a block. */
const BLOCK = 2000;

/** Long text in blocks, of which only the last one changes and is laid out again when text is added. */
function PlainText({ text }: { readonly text: string }) {
  const blocks: string[] = [];
  let start = 0;
  while (start < text.length) {
    const line = text.indexOf("\n", start + BLOCK);
    const end = line < 0 ? text.length : line + 1;
    blocks.push(text.slice(start, end));
    start = end;
  }
  return (
    <div class="answer-text">
      {blocks.map((block, i) => (
        <div key={i}>{block}</div>
      ))}
    </div>
  );
}

function Differences({ answer, turn }: Omit<BodyProps, "name">) {
  const first = turn.answers.get(session.panes.value[0]?.model ?? "")?.value;
  const isComparable = first !== undefined && first !== answer && isOver(first);
  const parts = useMemo(
    () => (isComparable ? diffWords(first.text, answer.text) : undefined),
    [isComparable, first?.text, answer.text],
  );
  if (parts === undefined) return <PlainText text={answer.text} />;
  return (
    <div class="answer-text">
      {parts.map(({ kind, text }, i) =>
        kind === "same" ? (
          text
        ) : kind === "added" ? (
          <ins key={i}>{text}</ins>
        ) : (
          <del key={i} title={`Only in the first answer: ${text}`}>
            <span class="unseen">{text}</span>
          </del>
        ),
      )}
    </div>
  );
}

/** An answer that failed, or was never asked for. */
function Unanswered({ answer: { status, problem }, pane }: { readonly answer: Answer; readonly pane: Pane }) {
  const { model, name } = pane;
  if (status === "queued" && session.isRunning.value) return null;
  return (
    <div class={problem === null ? "beside unanswered" : "beside unanswered bad"}>
      {problem !== null && <Icon name="alert" />}
      <p class="fill">{problem?.message.replaceAll(model, name) ?? "This model has not been asked."}</p>
      <Button onClick={() => void session.catchUp(model)}>{problem === null ? "Ask" : "Try again"}</Button>
    </div>
  );
}
