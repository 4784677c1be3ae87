// Messages of a chat as OpenAI's API writes them, and the same as data.
import { z } from "zod";
import { errorText, isRecord, parseJson } from "#common";
import type { ToolCall } from "../messages.ts";

/** Roles of messages; `developer` and `function` are names of `system` and `tool`. */
export const openaiRole = z.enum(
  ["system", "developer", "user", "assistant", "tool", "function"],
  '"system", "user", "assistant" or "tool"',
);

/** A role as data. */
export function toRole(role: z.output<typeof openaiRole>): "system" | "user" | "assistant" | "tool" {
  if (role === "developer") return "system";
  return role === "function" ? "tool" : role;
}

/** Arguments of a call as JSON text: text of an object, the object itself, or "" for none. */
export const callArguments = z.unknown().transform((given, context): string => {
  if (isRecord(given)) return JSON.stringify(given);
  const reason = typeof given === "string" ? findProblem(given) : "";
  if (typeof given === "string" && reason === undefined) return given.trim() === "" ? "{}" : given;
  context.issues.push({ code: "custom", message: `an object as JSON${reason}`, input: given });
  return z.NEVER;
});

function findProblem(text: string): string | undefined {
  if (text.trim() === "") return undefined;
  try {
    return isRecord(parseJson(text, { code: "bad_data", where: "arguments" })) ? undefined : "";
  } catch (error) {
    return ` (${errorText(error)})`;
  }
}

/** Writes a call as OpenAI does. */
export const writeCall = ({ type, id, ...call }: ToolCall) =>
  "input" in call
    ? { id, type: "custom" as const, custom: call }
    : { id, type: "function" as const, function: call };
