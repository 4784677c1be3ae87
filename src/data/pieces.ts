// How an example reads under each layout: its text, cut where the loss begins and ends.
import { MosError } from "#core";
import type { ChatMessage, ChatTemplate } from "#text";
import type { CompletionExample, Example, Turn } from "./example.ts";
import type { Piece } from "./tokenize-pieces.ts";

interface ChatOptions {
  readonly system: string | undefined;
}

/** A prompt with its completion as a conversation; `system` before it unless it has its own. */
export function turnsOf(example: Example, { system }: ChatOptions): readonly Turn[] {
  const turns = example.kind === "chat" ? example.turns : asTurns(example);
  return system === undefined || turns[0]?.role === "system"
    ? turns
    : [{ role: "system", content: system, trained: false }, ...turns];
}

const asTurns = ({ prompt, completion }: CompletionExample): readonly Turn[] => [
  { role: "user", content: prompt, trained: false },
  { role: "assistant", content: completion, trained: true },
];

export interface TemplateOptions extends ChatOptions {
  readonly template: ChatTemplate;
}

/** The conversation in the model's own chat template. */
export function templatePieces(example: Example, { template, system }: TemplateOptions): readonly Piece[] {
  const turns = turnsOf(example, { system });
  const rendered = renderTurns(template, turns, example.line);
  const spoken = turns.filter(({ role }) => role === "assistant");
  if (rendered.filter(({ trained }) => trained).length !== spoken.length)
    throw new MosError(
      "bad_data",
      `line ${example.line}: the chat template does not show every assistant message as it is, so the loss cannot be placed; use the chatml or plain prompt format`,
    );
  let k = 0;
  // an assistant message of weight 0 is shown, but not learned
  return rendered.map(({ text, trained }) => ({
    text,
    trained: trained && spoken[k++]?.trained === true,
  }));
}

function renderTurns(template: ChatTemplate, turns: readonly ChatMessage[], line: number): readonly Piece[] {
  try {
    return template.renderTurns(turns.map(({ role, content }) => ({ role, content })));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof MosError ? cause.code : "bad_data";
    throw new MosError(code, `line ${line}: the chat template refuses this conversation: ${reason}`, {
      cause,
    });
  }
}

/** ChatML without any default system message: `<|im_start|>role\ncontent<|im_end|>\n`. */
export const chatmlPieces = (example: Example, options: ChatOptions): readonly Piece[] =>
  turnsOf(example, options).flatMap(({ role, content, trained }) => [
    { text: `<|im_start|>${role}\n`, trained: false },
    { text: `${content}<|im_end|>\n`, trained },
  ]);

/**
 * Prompt and completion as they stand. A question and its answer are put on two lines; a longer conversation has no
 * plain form.
 */
export function plainPieces(example: Example): readonly Piece[] {
  if (example.kind === "completion")
    return [
      { text: example.prompt, trained: false },
      { text: example.completion, trained: true },
    ];
  const [user, assistant, more] = example.turns;
  if (user?.role !== "user" || assistant?.role !== "assistant" || more !== undefined)
    throw new MosError(
      "bad_data",
      `line ${example.line}: the plain prompt format takes one user message and its answer, but this conversation has ${example.turns.map(({ role }) => role).join(", ")}; use the template format`,
    );
  return [
    { text: `${user.content}\n`, trained: false },
    { text: assistant.content, trained: assistant.trained },
  ];
}
