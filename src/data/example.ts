export type Role = "system" | "user" | "assistant";

/** One message of a conversation; `trained` says whether its tokens count in the loss (assistant messages only). */
export interface Turn {
  readonly role: Role;
  readonly content: string;
  readonly trained: boolean;
}

/** A conversation: of a `messages` line, or of an instruction or a question with its answer. */
export interface ChatExample {
  readonly kind: "chat";
  /** Line of the file, from 1, for messages about it. */
  readonly line: number;
  readonly turns: readonly Turn[];
}

/** A text and how it goes on: of a `prompt`/`completion` line. */
export interface CompletionExample {
  readonly kind: "completion";
  readonly line: number;
  readonly prompt: string;
  readonly completion: string;
}

export type Example = ChatExample | CompletionExample;
