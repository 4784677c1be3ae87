import { expect, test } from "vitest";
import { describeBytes, describeCount } from "./units.ts";

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [1536, "1.54 kB"],
  [99_950, "100 kB"],
  [999_499, "999 kB"],
  [999_500, "1.00 MB"],
  [270e6, "270 MB"],
  [12.34e9, "12.3 GB"],
  [Number.NaN, "?"],
])("describeBytes(%d) is %s", (bytes, text) => expect(describeBytes(bytes)).toBe(text));

test("counts", () => {
  expect(describeCount(950)).toBe("950");
  expect(describeCount(4_815_162)).toBe("4.82 M");
});
