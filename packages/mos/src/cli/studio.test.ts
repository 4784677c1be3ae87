import { settingInfo } from "mixture-of-shards-core/common";
import { expect, test } from "vitest";
import { loadCommands } from "./program.ts";
import { openerOf } from "./studio.ts";

test("each system has its opener, and one without a screen none", () => {
  expect(openerOf("darwin", {})).toEqual(["open"]);
  expect(openerOf("win32", {})).toEqual(["rundll32", "url.dll,FileProtocolHandler"]);
  expect(openerOf("linux", { DISPLAY: ":0" })).toEqual(["xdg-open"]);
  expect(openerOf("linux", { WAYLAND_DISPLAY: "wayland-0" })).toEqual(["xdg-open"]);
  expect(openerOf("linux", {})).toBeUndefined();
});

test("it has the options of mos serve, and needs none of them", async () => {
  const commands = await loadCommands(["serve", "studio"]);
  const serve = Object.keys(commands.get("serve")?.options ?? {}).filter((name) => name !== "config");
  const studio = commands.get("studio")?.options ?? {};
  expect(Object.keys(studio).toSorted()).toEqual([...serve, "open"].toSorted());
  expect(Object.values(studio).filter((setting) => settingInfo(setting).isRequired)).toEqual([]);
  expect(settingInfo(studio["state"]).defaultText).toBe(".mos/studio");
});
