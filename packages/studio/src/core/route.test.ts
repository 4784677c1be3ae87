import fc from "fast-check";
import { expect, test } from "vitest";
import { href, readRoute } from "./route.ts";

test("an address leads where it was made for, whatever is in it", () => {
  const text = fc.string({ unit: "grapheme", minLength: 1 });
  const query = fc.dictionary(text, fc.string({ unit: "grapheme" }), { noNullPrototype: true });
  fc.assert(
    fc.property(text, fc.option(text, { nil: undefined }), query, (view, id, values) => {
      const route = readRoute(href(view, id, values));
      expect(route).toEqual({ view, ...(id === undefined ? {} : { id }), query: values });
    }),
  );
});

test("addresses that people write", () => {
  for (const hash of ["", "#", "#/"]) expect(readRoute(hash)).toEqual({ view: "runs", query: {} });
  expect(readRoute("#runs")).toEqual({ view: "runs", query: {} });
  expect(readRoute("#/adapters/acme/support?tab=layers")).toEqual({
    view: "adapters",
    id: "acme/support",
    query: { tab: "layers" },
  });
  expect(readRoute("#/run/100%")).toEqual({ view: "run", id: "100%", query: {} });
  expect(readRoute("#/compare?models=a&models=b")).toEqual({ view: "compare", query: { models: "b" } });
});
