// A stored response as messages of a conversation, as training data have them.
import { type ChatMessage, writeCall } from "mixture-of-shards-core/text";
import { toMessages } from "./items.ts";
import { readChain } from "./request.ts";
import type { ResponseStore } from "./store.ts";

/** A message of OpenAI's chat API, as lines of training data have it. */
export type TrainingMessage = Readonly<Record<string, unknown>> & { readonly role: string };

/** An answer, and the conversation that led to it. */
export interface StoredConversation {
  readonly model: string;
  readonly prompt: readonly TrainingMessage[];
  readonly completion: readonly TrainingMessage[];
}

/**
 * Reads a stored response with those that it continues; undefined where it is not stored.
 *
 * @throws ApiError 404 where one that it continues is no longer stored
 */
export async function storedConversation(
  store: ResponseStore,
  { tenant, id }: { readonly tenant: string; readonly id: string },
): Promise<StoredConversation | undefined> {
  const stored = await store.get(tenant, id);
  if (stored === undefined) return undefined;
  const { model, instructions } = stored.response;
  const all = await readChain(stored, { store, tenant });
  const before = all.slice(0, all.length - stored.output.length);
  const options = { names: new Map() };
  const system = typeof instructions === "string" ? { ...options, instructions } : options;
  return {
    model: String(model),
    prompt: toMessages(before, system).map(toTrainingMessage),
    completion: toMessages(all.slice(before.length), options).map(toTrainingMessage),
  };
}

const toTrainingMessage = ({ role, content, toolCalls = [], toolCallId }: ChatMessage): TrainingMessage => ({
  role,
  content,
  ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(writeCall) }),
  ...(toolCallId === undefined ? {} : { tool_call_id: toolCallId }),
});
