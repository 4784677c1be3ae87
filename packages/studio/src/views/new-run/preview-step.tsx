import { countOf, formatCount, set } from "#core";
import { Button, Icon, IconButton } from "#ui";
import { countLines, type Form, LINES_SHOWN, type Preview } from "./form.ts";

type Line = Preview["lines"][number];

/** What the model reads of the data, and which of it is trained. */
export function PreviewStep({ form }: { readonly form: Form }) {
  const preview = form.preview.value;
  const isStale = form.isPreviewing.value;
  return (
    <section class="card stack" aria-label="Token preview" aria-busy={isStale}>
      <header class="row spread">
        <h2>Token preview</h2>
        <Legend />
        <Pager form={form} />
      </header>
      {preview === undefined ? (
        <p class="lines muted">
          {isStale ? "Loading preview …" : "The first lines of your data will appear here as tokens."}
        </p>
      ) : (
        <>
          <Counts preview={preview} />
          <ol class="stack lines">
            {preview.lines.map((line, i) => (
              <LineRow key={`${line.line} ${i}`} line={line} />
            ))}
          </ol>
          <Remarks form={form} preview={preview} />
        </>
      )}
    </section>
  );
}

const Legend = () => (
  <span class="beside legend muted small">
    <span class="token trained">trained</span>
    <span class="token">context</span>
  </span>
);

function Pager({ form: { firstLine, preview } }: { readonly form: Form }) {
  const total = countLines(preview.value);
  const first = firstLine.value;
  return (
    <span class="pager">
      <IconButton
        label="Previous lines"
        icon="arrowLeft"
        disabled={first <= 1}
        onClick={() => set(firstLine, Math.max(1, first - LINES_SHOWN))}
      />
      <IconButton
        label="Next lines"
        icon="arrowRight"
        disabled={first + LINES_SHOWN > total}
        onClick={() => set(firstLine, first + LINES_SHOWN)}
      />
    </span>
  );
}

function Counts({ preview: { training, validation } }: { readonly preview: Preview }) {
  return (
    <p class="muted">
      {countOf(training.examples, "example")} · {countOf(training.tokens, "token")} ·{" "}
      {formatCount(training.target_tokens)} trained · longest {formatCount(training.longest)}
      {validation !== null && ` · ${countOf(validation.examples, "validation example")}`}
    </p>
  );
}

function LineRow({ line }: { readonly line: Line }) {
  const { token_count, target_tokens, truncated, dropped, tokens, answer } = line;
  return (
    <li>
      <div class="line-head">
        <span class="line-number muted mono">{line.line}</span>
        {answer !== undefined && <span class="tag">{answer}</span>}
        <span class="muted">
          {countOf(token_count, "token")}, {formatCount(target_tokens)} trained
        </span>
        {truncated && <span class="tag warn">truncated</span>}
        {dropped && <span class="tag bad">dropped</span>}
      </div>
      <div class="line-text mono">
        {toBlocks(tokens, line.messages).map(({ role, tokens: own }, i) => (
          <span key={i} class={role === undefined ? "block format" : "block"}>
            {role !== undefined && <span class="role">{role}</span>}
            {toBoxes(own).map(({ ids, text, trained }, k) => (
              <span
                key={k}
                class={trained ? "token trained" : "token"}
                title={`token${ids.length > 1 ? "s" : ""} ${ids.join(", ")}`}
              >
                {showToken(text)}
              </span>
            ))}
          </span>
        ))}
        {token_count > tokens.length && (
          <span class="muted"> … {formatCount(token_count - tokens.length)} more</span>
        )}
      </div>
    </li>
  );
}

/** Lines that are not learnt as they stand; one is shown when it is pressed. */
function Remarks({ form, preview }: { readonly form: Form; readonly preview: Preview }) {
  const { problems, warnings } = preview;
  // those of lines say more
  const general = warnings.filter(
    ({ code }) => code !== "no_validation" && !problems.some((one) => one.code === code),
  );
  if (problems.length === 0 && general.length === 0) return null;
  return (
    <details class="remarks" open>
      <summary class="beside">
        <Icon name="alert" />
        {problems.length === 0 ? "Notes" : `Check ${countOf(problems.length, "line")}`}
      </summary>
      <ul>
        {general.map(({ message }) => (
          <li class="beside" key={message}>
            {message}
          </li>
        ))}
        {problems.map(({ line, message, code }) => (
          <li class="beside" key={`${line} ${code}`}>
            <Button onClick={() => set(form.firstLine, line)}>Line {line}</Button>
            <span>{message}</span>
          </li>
        ))}
      </ul>
    </details>
  );
}

/**
 * A line in blocks, which hold each token once; one without a role is what the prompt format adds. A message that begins within
 * the one before has what is left of it.
 */
export function toBlocks(tokens: Line["tokens"], messages: Line["messages"]) {
  const blocks: { readonly role: string | undefined; readonly tokens: Line["tokens"] }[] = [];
  let done = 0;
  const add = (role: string | undefined, end: number): void => {
    if (end > done) blocks.push({ role, tokens: tokens.slice(done, end) });
    done = Math.max(done, end);
  };
  for (const { role, start, end } of messages) {
    add(undefined, Math.min(start, tokens.length));
    add(role, Math.min(end, tokens.length));
  }
  add(undefined, tokens.length);
  return blocks;
}

/** Tokens as they are seen: those that have the bytes of a character together as one. The last of them has its text. */
export function toBoxes(tokens: Line["tokens"]) {
  let ids: number[] = [];
  return tokens.flatMap(({ id, text, trained }, index) => {
    ids.push(id);
    if (text === "" && index + 1 < tokens.length) return [];
    const box = { ids, text, trained };
    ids = [];
    return [box];
  });
}

/** Controls, and what has no width or turns the direction of what follows; not the joiners that scripts and emoji need. */
const UNSEEN = /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

const MARKS: Readonly<Record<string, string>> = { "\t": "⇥", "\n": "↵\n" };

/** A token's text with marks for what cannot be seen; the ends of lines stay, behind their mark. */
export const showToken = (text: string): string =>
  text.replace(
    UNSEEN,
    (one) => MARKS[one] ?? `⟨U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
