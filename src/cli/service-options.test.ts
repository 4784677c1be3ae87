import { afterEach, expect, test, vi } from "vitest";
import { databaseUrlOfUser, needDatabaseUrl } from "./service-options.ts";

afterEach(() => vi.unstubAllEnvs());

test("the database is the option, or else what the environment says", () => {
  vi.stubEnv("MOS_DATABASE_URL", "postgres://of-the-environment/mos\n");
  expect(databaseUrlOfUser("postgres://given/mos")).toBe("postgres://given/mos");
  expect(databaseUrlOfUser(undefined)).toBe("postgres://of-the-environment/mos");
  vi.stubEnv("MOS_DATABASE_URL", "");
  expect(databaseUrlOfUser(undefined)).toBeUndefined();
  expect(() => needDatabaseUrl(undefined)).toThrow(/--database-url.*MOS_DATABASE_URL/);
});
