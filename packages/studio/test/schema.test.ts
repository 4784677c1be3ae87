import { expect, test } from "vitest";
import { schemaTypes, storedTypes } from "../scripts/types.ts";

test("the page's types of the API are those of the server", async () => {
  expect(
    storedTypes() === (await schemaTypes()),
    "packages/studio/src/api/schema.d.ts is out of date: run npm run studio:types",
  ).toBe(true);
});
