import { describe, test } from "vitest";
import { METHOD_NAMES } from "#adapters";
import { expectGradients } from "./family-gradients.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";

describe.each(Object.entries(TINY_FAMILIES))("%s has the right gradients of", (_, overrides) => {
  test.each(METHOD_NAMES)("%s", (method) => expectGradients(method, overrides));
});
