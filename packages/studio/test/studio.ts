// The studio in a real browser, as a person sees it: tests read what is visible, and click, type and press keys. Whatever goes
// wrong behind that (an error in the console, a report of the content security policy, a failed request) fails the test.
import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import { inject } from "vitest";
import { seriousProblems } from "../../../test/axe.ts";
import { keyFor, type ServerOptions, type StudioServer, startServer } from "./server.ts";

export { keyFor } from "./server.ts";

export interface StudioOptions extends ServerOptions {
  /** A server that several pages share; then the other options of a server are not used. */
  readonly server?: StudioServer;
  /** Signs in with this tenant's key. */
  readonly as?: string;
  /** The part of the address behind #, such as /runs. */
  readonly at?: string;
  readonly width?: number;
  readonly height?: number;
  readonly dark?: boolean;
}

/** The studio open in a browser. Disposing it closes page and server, and throws if anything went wrong. */
export interface Studio extends AsyncDisposable {
  readonly page: Page;
  readonly server: StudioServer;
  /** Opens a place of the page, such as /runs. */
  open(place: string): Promise<void>;
  /** Waits until a text is visible: half a minute, or what is given. */
  see(text: string | RegExp, options?: { readonly seconds?: number }): Promise<void>;
  /** Waits until a text is not visible. */
  gone(text: string | RegExp): Promise<void>;
  /** Clicks what has this name: a button, link, tab, box, row or item. The name may be a part of it. */
  click(name: string): Promise<void>;
  /** Types into the field with this label, in place of what is there. */
  fill(label: string, value: string): Promise<void>;
  /** Chooses an option of the list with this label. */
  choose(label: string, option: string): Promise<void>;
  /** Gives files to the field with this label, or drops them where the only field for files is. */
  attach(files: string | { readonly name: string; readonly text: string }, label?: string): Promise<void>;
  /** Presses keys, such as Control+K. */
  press(keys: string): Promise<void>;
  /** The visible text of the whole page. */
  text(): Promise<string>;
  /** Sends a request to the API, as no page would: to prepare what a test looks at. Returns the JSON. */
  api(
    path: string,
    body?: unknown,
    options?: { readonly method?: string; readonly as?: string },
    // biome-ignore lint/suspicious/noExplicitAny: tests read answers of any shape
  ): Promise<any>;
  /** Problems that match are not failures, those of the past included: a test provokes them. */
  allow(problem: RegExp): void;
  /** Problems of accessibility that axe calls serious or critical, each as a line. */
  seriousProblems(): Promise<readonly string[]>;
  /** Throws what went wrong so far. */
  assertClean(): void;
}

let browser: Promise<Browser> | undefined;

/** Milliseconds that a person would wait. */
const PATIENCE = 30_000;

/** Starts a server, and opens its studio in a page of its own. */
export async function openStudio(options: StudioOptions = {}): Promise<Studio> {
  const { at = "/", as, width = 1280, height = 800, dark = false } = options;
  browser ??= chromium.connect(inject("chromium"));
  const server = options.server ?? (await startServer(options));
  const look: BrowserContextOptions = {
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    locale: "en-GB",
    timezoneId: "UTC",
  };
  const context = await (await browser).newContext(look);
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  const problems = watchProblems(page);
  if (as !== undefined) await signIn(page, server, as);
  const open = async (place: string): Promise<void> =>
    void (await page.goto(`${server.address}/studio/#${place}`));
  await open(at);
  return {
    page,
    server,
    open,
    ...actions(page),
    ...problems,
    api: (path, body, { method, as: tenant = as } = {}) =>
      request(server, { path, body, method, as: tenant }),
    async [Symbol.asyncDispose]() {
      await context.close();
      if (options.server === undefined) await server[Symbol.asyncDispose]();
      problems.assertClean();
    },
  };
}

async function signIn(page: Page, server: StudioServer, tenant: string): Promise<void> {
  const answer = await page.request.post(`${server.address}/studio/session`, {
    headers: { "x-mos-session": "1", origin: server.address },
    data: { key: keyFor(tenant) },
  });
  if (!answer.ok()) throw new Error(`signing in as ${tenant}: ${answer.status()} ${await answer.text()}`);
}

interface ApiRequest {
  readonly path: string;
  readonly body: unknown;
  readonly method: string | undefined;
  readonly as: string | undefined;
}

async function request(server: StudioServer, { path, body, method, as }: ApiRequest): Promise<unknown> {
  const isForm = body instanceof FormData;
  const answer = await fetch(`${server.address}${path}`, {
    method: method ?? (body === undefined ? "GET" : "POST"),
    headers: {
      ...(body === undefined || isForm ? {} : { "content-type": "application/json" }),
      ...(as === undefined ? {} : { authorization: `Bearer ${keyFor(as)}` }),
    },
    ...(body === undefined ? {} : { body: isForm ? body : JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text.slice(0, 500)}`);
  return answer.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : text;
}

/** Notes everything that no test may let pass. */
function watchProblems(page: Page): Pick<Studio, "allow" | "assertClean"> {
  const problems: string[] = [];
  const allowed: RegExp[] = [];
  page.on("console", (message) => {
    // a failed request has its own entry below
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
      problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error.message}`));
  page.on("response", (response) => {
    if (response.status() >= 400)
      problems.push(`request: ${response.status()} ${response.request().method()} ${response.url()}`);
  });
  page.on("requestfailed", (failed) => {
    const reason = failed.failure()?.errorText ?? "";
    // the page left, or needed no more of a stream
    if (reason !== "net::ERR_ABORTED") problems.push(`request: ${reason} ${failed.method()} ${failed.url()}`);
  });
  return {
    allow: (problem) => void allowed.push(problem),
    assertClean() {
      const left = problems.filter((problem) => !allowed.some((pattern) => pattern.test(problem)));
      if (left.length > 0) throw new Error(`behind the page:\n${left.join("\n")}`);
    },
  };
}

const CLICKABLE = [
  "button",
  "link",
  "tab",
  "menuitem",
  "checkbox",
  "radio",
  "switch",
  "option",
  "row",
] as const;

/** What a person can reach: an open dialog alone, else everything. */
async function reachable(page: Page): Promise<Locator> {
  const dialog = page.locator("dialog:modal").last();
  return (await dialog.count()) > 0 ? dialog : page.locator("body");
}

interface Sought {
  /** For the message of a failure. */
  readonly what: string;
  readonly seconds?: number | undefined;
}

/** The first visible one of several ways to find something, the better ways first; asked again until there is one. */
async function findVisible(
  page: Page,
  { what, seconds = PATIENCE / 1000 }: Sought,
  ways: (root: Locator) => readonly Locator[],
): Promise<Locator> {
  const end = performance.now() + 1000 * seconds;
  for (;;) {
    for (const way of ways(await reachable(page))) {
      const found = way.filter({ visible: true }).first();
      if ((await found.count()) > 0) return found;
    }
    if (performance.now() > end) throw await notSeen(page, what);
    await page.waitForTimeout(50);
  }
}

// biome-ignore lint/performance/useDomNodeTextContent: what is hidden does not count
const visibleText = (page: Page): Promise<string> => page.locator("body").innerText();

async function notSeen(page: Page, what: string): Promise<Error> {
  const text = (await visibleText(page)).replaceAll(/\n\s*\n/g, "\n").slice(0, 2000);
  return new Error(`${what} is not to be seen at ${page.url()}. What is:\n${text}`);
}

function actions(
  page: Page,
): Pick<
  Studio,
  "see" | "gone" | "click" | "fill" | "choose" | "attach" | "press" | "text" | "seriousProblems"
> {
  const field = (label: string): Promise<Locator> =>
    findVisible(page, { what: `the field "${label}"` }, (root) => [
      root.getByLabel(label, { exact: true }),
      root.getByLabel(label),
      root.getByPlaceholder(label),
    ]);
  return {
    see: async (text, { seconds } = {}) =>
      void (await findVisible(page, { what: `"${text}"`, seconds }, (root) => [root.getByText(text)])),
    async gone(text) {
      const shown = page.getByText(text).filter({ visible: true });
      await shown.first().waitFor({ state: "detached" });
    },
    async click(name) {
      const ways = (root: Locator, exact: boolean): Locator[] =>
        CLICKABLE.map((role) => root.getByRole(role, { name, exact }));
      const found = await findVisible(page, { what: `"${name}"` }, (root) => [
        ...ways(root, true),
        ...ways(root, false),
      ]);
      await found.click();
    },
    fill: async (label, value) => (await field(label)).fill(value),
    async choose(label, option) {
      const found = await findVisible(page, { what: `the list "${label}"` }, (root) =>
        [root.getByLabel(label, { exact: true }), root.getByLabel(label)].map((way) =>
          way.and(root.locator("select")),
        ),
      );
      await found.selectOption({ label: option });
    },
    async attach(files, label) {
      const input = label === undefined ? page.locator("input[type=file]").first() : page.getByLabel(label);
      const given =
        typeof files === "string"
          ? files
          : { name: files.name, mimeType: "application/octet-stream", buffer: Buffer.from(files.text) };
      await input.setInputFiles(given);
    },
    press: (keys) => page.keyboard.press(keys),
    text: () => visibleText(page),
    seriousProblems: () => seriousProblems(page),
  };
}
