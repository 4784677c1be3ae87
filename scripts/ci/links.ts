// Links between documents: each must lead to a file, and to a heading of it if it names one.
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";

/** The anchor of a heading, as code hosts form it; the site is told to do the same. */
export const slugify = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");

const withoutCode = (markdown: string): string => markdown.replace(/^```[\s\S]*?^```$/gm, "");

/** A heading without the marks of links, code and emphasis. */
const plainText = (heading: string): string =>
  heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/[`*]/g, "");

/** The anchors of a document; a heading that comes again gets a number. */
function anchorsIn(markdown: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of withoutCode(markdown).matchAll(/^#{1,6} +(.+)$/gm)) {
    const slug = slugify(plainText(heading));
    let anchor = slug;
    for (let n = 1; anchors.has(anchor); n++) anchor = `${slug}-${n}`;
    anchors.add(anchor);
  }
  return anchors;
}

function isBroken(path: string, link: string): boolean {
  const [file = "", anchor] = link.split("#");
  const target = file === "" ? path : join(dirname(path), file);
  if (!existsSync(target)) return true;
  if (anchor === undefined) return false;
  return statSync(target).isDirectory() || !anchorsIn(readFileSync(target, "utf8")).has(anchor);
}

/** The links of a document that lead nowhere; those to other sites are not followed. */
export function brokenLinks(path: string): readonly string[] {
  const markdown = withoutCode(readFileSync(path, "utf8")).replace(/`[^`\n]*`/g, "");
  const links = [...markdown.matchAll(/\]\(([^)\s]+)[^)]*\)|\b(?:src|srcset|href)="([^"]+)"/g)].map(
    (found) => found[1] ?? found[2] ?? "",
  );
  return links.filter((link) => !/^[a-z]+:/.test(link) && isBroken(path, link));
}
