import { expect, test } from "vitest";
import { labelOf } from "#core";
import { emptyDraft, type LimitField, toKeyRequest } from "./draft.ts";

const fields: readonly LimitField[] = ["max_running_jobs", "priority"].map((name) => ({
  group: "fine_tuning",
  name,
  help: "",
  expected: "",
}));

test("a request has what the form has, and nothing that is empty", () => {
  expect(toKeyRequest({ ...emptyDraft, name: " acme " }, fields)).toEqual({ name: "acme" });
  const numbers = { max_concurrent: 4, tokens_per_day: undefined, "fine_tuning.priority": -1, other: 1 };
  const draft = { ...emptyDraft, name: "acme", admin: true, adapters: "acme-*,\n shared ", numbers };
  expect(toKeyRequest({ ...draft, expires: "30d", date: "2027-01-31" }, fields)).toEqual({
    name: "acme",
    admin: true,
    adapters: ["acme-*", "shared"],
    max_concurrent: 4,
    expires: "30d",
    limits: { fine_tuning: { priority: -1 } },
  });
  expect(toKeyRequest({ ...draft, expires: "date", date: "2027-01-31 " }, [])).toMatchObject({
    expires: "2027-01-31",
  });
});

test("labels of limits are words", () => {
  expect(labelOf("max_running_jobs")).toBe("Max running jobs");
});
