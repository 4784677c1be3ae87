// The documentation as a site: `npm run docs` writes it to .mos/docs, with the reference of the TypeScript API in api/
// and the page of examples/page in page/.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { defineConfig, type MarkdownRenderer } from "vitepress";
import { slugify } from "../../scripts/ci/links.ts";
import { accessible } from "./accessible.ts";
import { sidebar } from "./sidebar.ts";

const DOCS = join(import.meta.dirname, "..");
/** The page of the repository on its code host; until package.json names one, sources are shown without a link. */
const { repository } = JSON.parse(readFileSync(join(DOCS, "../package.json"), "utf8")) as {
  repository?: { url: string };
};
const REPOSITORY = repository?.url.replace(/^git\+|\.git$/g, "");

function title(page: string): string {
  const heading = /^# (.+)$/m.exec(readFileSync(join(DOCS, `${page}.md`), "utf8"))?.[1] ?? page;
  return heading.replaceAll("`", "");
}

/** The pages are also read on a code host, so they link to sources as files; on the site these are the host's, if any. */
function linkSourcesToRepository(md: MarkdownRenderer): void {
  md.core.ruler.push("source-links", ({ tokens, env }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.attrGet("href");
      if (token.type !== "link_open" || href === null || /^([a-z]+:|#)/.test(href)) continue;
      const target = join(dirname(env.path), href);
      const path = relative(join(DOCS, ".."), target);
      if (!relative(DOCS, target).startsWith("..")) continue;
      if (REPOSITORY === undefined) token.attrs = null;
      else token.attrSet("href", `${REPOSITORY}/blob/main/${path}`);
    }
  });
}

export default defineConfig({
  title: "Mixture of Shards",
  description:
    "Fine-tune open language models with small adapters and serve thousands of them, in TypeScript.",
  lang: "en",
  outDir: "../.mos/docs",
  cacheDir: "../.mos/vitepress",
  cleanUrls: true,
  ignoreDeadLinks: [/^\/api\//],
  vite: { plugins: [accessible] },
  markdown: {
    anchor: { slugify },
    config: linkSourcesToRepository,
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
  },
  themeConfig: {
    search: { provider: "local" },
    outline: [2, 3],
    nav: [
      { text: "Tutorial", link: "/tutorial" },
      { text: "Try it here", link: "/page/index.html", target: "_self" },
      { text: "TypeScript API", link: "/api/index.html", target: "_self" },
    ],
    sidebar: sidebar.map(({ text, pages }) => ({
      text,
      items: pages
        .filter((page) => existsSync(join(DOCS, `${page}.md`)))
        .map((page) => ({ text: title(page), link: page === "index" ? "/" : `/${page}` })),
    })),
    ...(REPOSITORY === undefined
      ? {}
      : {
          socialLinks: [{ icon: "github", link: REPOSITORY }],
          editLink: { pattern: `${REPOSITORY}/edit/main/docs/:path`, text: "Edit this page" },
        }),
  },
});
