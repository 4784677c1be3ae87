import { expect, test } from "vitest";
import { mos } from "../../../test/bad-input/run-mos.ts";

const model = ["--model", "assets/tiny-english"];

test("lists the rows on a model, and runs nothing", async () => {
  const { code, stdout } = await mos(["reproduce", "table2", "--list", ...model]);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^mos-2 +MoS +6 +23,360 +rank 6, the most that fits, in place of 8$/m);
  expect(stdout).toMatch(/^lora-64 +LoRA +64 +747,520$/m);
  const json = await mos(["reproduce", "figure1", "--list", "--json", "--shards", "1,3", ...model]);
  const { rows } = JSON.parse(json.stdout);
  expect(rows.map(({ key }: { key: string }) => key)).toContain("mos-p0-l3");
});
