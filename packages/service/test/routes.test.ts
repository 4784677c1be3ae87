// A server without the service knows each of its routes, and says how to get it.
import { expect, test } from "vitest";
import { addServiceRoutes, type ServiceEnv } from "#api";
import { makeServer } from "./server.ts";

test("a server without fine-tuning says how to get it, at every route of the service", async () => {
  const routes = new Set<string>();
  await makeServer({
    extension: {
      routes: (app) => {
        const before = new Set(app.routes);
        addServiceRoutes(app, {} as ServiceEnv); // nothing is asked
        const added = app.routes.filter((route) => !before.has(route) && route.method !== "ALL");
        for (const { method, path } of added) routes.add(`${method} ${path}`);
      },
    },
  });
  expect(routes.size).toBeGreaterThan(25);
  const server = await makeServer();
  for (const route of routes) {
    const [method = "", pattern = ""] = route.split(" ");
    const answer = await server.fetch(pattern.replaceAll(/:\w+(\{[^/]*\})?/g, "x"), { method });
    const { error } = JSON.parse(await answer.text());
    expect(error.message, route).toContain("start it with mos serve --state FOLDER");
    expect([404, 405], route).toContain(answer.status);
  }
});
