import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatLoss,
  formatRate,
  formatRelative,
  formatShare,
  labelOf,
} from "./format.ts";

describe("formats", () => {
  test("counts", () => {
    expect([0, 999, 12_345, 1_234_567, 1.5e9, -3e6].map(formatCount)).toEqual([
      ...["0", "999", "12,345", "1.23M", "1.50B", "-3.00M"],
    ]);
  });

  test("losses", () => {
    expect([0, 1.23456, 12.345, 123.45, 12_345.6, 1e7, 0.00012345, -0.5].map(formatLoss)).toEqual([
      ...["0.000", "1.235", "12.35", "123.5", "12,346", "1.00e+7", "1.23e-4", "-0.500"],
    ]);
  });

  test("bytes", () => {
    expect([0, 999, 1000, 999_960, 1.25e6, 3e9, 2e12].map(formatBytes)).toEqual([
      ...["0 B", "999 B", "1.0 kB", "1.0 MB", "1.3 MB", "3.0 GB", "2.0 TB"],
    ]);
  });

  test("durations", () => {
    expect([0, 0.25, 1.5, 42.4, 59.6, 185, 3600, 7800, 86400 * 4 + 3 * 3600].map(formatDuration)).toEqual([
      ...["0.00 s", "0.25 s", "1.5 s", "42 s", "1 min 00 s", "3 min 05 s", "1 h 00 min", "2 h 10 min"],
      "4 d 3 h",
    ]);
  });

  test("rates and shares", () => {
    expect([0, 12.34, 1234].map(formatRate)).toEqual(["0.0/s", "12.3/s", "1,234/s"]);
    expect([0, 0.25, 0.0123, 0.00015, 1].map(formatShare)).toEqual(["0%", "25%", "1.2%", "0.015%", "100%"]);
  });

  test("how long ago", () => {
    expect(
      [100, 88, 90 - 600, 100 - 7200, 100 - 86400 * 3, 400].map((at) => formatRelative(at, 100)),
    ).toEqual([...["now", "12 s ago", "10 min ago", "2 h ago", "3 d ago", "in 5 min"]]);
    expect(formatRelative(0, 86400 * 400)).toMatch(/19(69|70)/);
  });

  test("labels of settings", () => {
    expect(["max_gradient_norm", "grpo_loss", "sft_weight", "beta1", "top_k"].map(labelOf)).toEqual([
      ...["Max gradient norm", "GRPO loss", "SFT weight", "Beta 1", "Top k"],
    ]);
  });

  test("what is not known is a dash", () => {
    const formats = [formatCount, formatLoss, formatBytes, formatDuration, formatRate, formatShare];
    for (const format of formats)
      for (const none of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY])
        expect(format(none)).toBe("–");
  });

  test("losses keep four figures at most and never lose the size", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-9, max: 1e12, noNaN: true }), (value) => {
        const shown = Number(formatLoss(value).replaceAll(",", ""));
        expect(Math.abs(shown / value - 1)).toBeLessThan(0.005 + (value < 0.1 ? 0.5 : 0));
      }),
    );
  });
});
