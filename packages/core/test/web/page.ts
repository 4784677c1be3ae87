// A page with the library in Chromium, from a server of files: what goes wrong behind it fails the test.
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { inject } from "vitest";
import { startWebServer, type WebServerOptions } from "../../../../scripts/web-server.ts";

/** Options of a page. */
export interface PageOptions extends Omit<WebServerOptions, "bundles"> {
  /** Errors of the console that are expected. */
  readonly expected?: RegExp;
}

/** A tab of the browser. */
export interface WebTab extends AsyncDisposable {
  readonly page: Page;
  /** Runs a function in the page, which has `openWeb` and `options` of it for this server. */
  run<Result>(body: string, argument?: unknown): Promise<Result>;
}

/** The first tab, with its server. */
export interface WebPage extends WebTab {
  /** Paths that were asked for. */
  readonly requests: readonly string[];
  /** Opens another tab of the same origin. */
  openTab(): Promise<WebTab>;
  /** Sets the bytes that the origin may keep. */
  setQuota(bytes: number): Promise<void>;
}

let browser: Promise<Browser> | undefined;

async function openTab(context: BrowserContext, address: string): Promise<WebTab> {
  const page = await context.newPage();
  await page.goto(`${address}/`);
  return {
    page,
    run: (body, argument) =>
      page.evaluate(
        `(async (argument) => {
          const { openWeb } = await import("/mos/index.js");
          const options = { runtime: "/runtime/" };
          ${body}
        })(${JSON.stringify(argument)})`,
      ),
    [Symbol.asyncDispose]: () => page.close(),
  };
}

/** What goes wrong behind the pages of a context from now on, but for what is expected in the console. */
export function watchProblems(context: BrowserContext, expected?: RegExp): readonly string[] {
  const problems: string[] = [];
  context.on("console", (message) => {
    const text = message.text();
    if (message.type() === "error" && expected?.test(text) !== true) problems.push(`console: ${text}`);
  });
  context.on("weberror", (error) =>
    problems.push(`uncaught: ${error.error().stack ?? error.error().message}`),
  );
  return problems;
}

/** Opens an empty page of a server with the bundles, the runtime and the bundled model. */
export async function openPage(options: PageOptions = {}): Promise<WebPage> {
  const server = await startWebServer({ ...options, bundles: inject("bundles") });
  const { requests, address } = server;
  browser ??= chromium.connect(inject("chromium"));
  const context = await (await browser).newContext();
  const problems = watchProblems(context, options.expected);
  const { page, run } = await openTab(context, address);
  return {
    requests,
    page,
    run,
    openTab: () => openTab(context, address),
    async setQuota(quotaSize) {
      const session = await context.newCDPSession(page);
      await session.send("Storage.overrideQuotaForOrigin", { origin: address, quotaSize });
    },
    async [Symbol.asyncDispose]() {
      await context.close();
      server[Symbol.dispose]();
      if (problems.length > 0) throw new Error(`behind the page:\n${problems.join("\n")}`);
    },
  };
}
