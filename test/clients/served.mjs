// The server under test, and what all clients ask of it: forms that a model of three million weights fills in with few tokens,
// so that each answer is short and well formed whatever the model says.
import { z } from "zod";

const given = (name) => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set; run scripts/ci/clients.sh`);
  return value;
};

export const baseURL = given("MOS_URL");
export const MODEL = given("MOS_MODEL");
export const apiKey = "none";
/** The folder of the training data. */
export const DATA = given("MOS_DATA");

export const QUESTION = "When can I come in?";

/** What a tool takes, and what an answer is. */
export const visitSchema = z.strictObject({ part: z.enum(["house", "garden"]), isEarly: z.boolean() });

/** The same as JSON Schema, in OpenAI's strict subset. */
export const visitJson = {
  type: "object",
  properties: { part: { type: "string", enum: ["house", "garden"] }, isEarly: { type: "boolean" } },
  required: ["part", "isEarly"],
  additionalProperties: false,
};

/** Reads arguments of a call, which must be what the schema says. */
export const readVisit = (text) => visitSchema.parse(JSON.parse(text));
