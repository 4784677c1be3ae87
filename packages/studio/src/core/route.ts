// What the address shows: #/view/id?name=value. Only the part behind # changes, so that the server needs no routes for it.
import { signal } from "@preact/signals";

/** Values of the query; a name stands once. */
export type Query = Readonly<Record<string, string>>;

/** A view, and what it shows. */
export interface Route {
  readonly view: string;
  readonly id?: string;
  readonly query: Query;
}

const FIRST_VIEW = "runs";

/** Reads what stands behind # in an address. An id may have slashes, as models' names have. */
export function readRoute(hash: string): Route {
  const [path = "", search = ""] = splitOnce(hash.replace(/^#?\/?/, ""), "?");
  const [view = "", id = ""] = splitOnce(path, "/");
  const query = Object.fromEntries(new URLSearchParams(search));
  return { view: decode(view) || FIRST_VIEW, ...(id === "" ? {} : { id: decode(id) }), query };
}

function splitOnce(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** People write addresses by hand, too: what cannot be decoded stays as it is. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The address of a view. */
export function href(view: string, id?: string, query: Query = {}): string {
  const path = id === undefined ? "" : `/${encodeURIComponent(id)}`;
  const search = new URLSearchParams(query).toString();
  return `#/${encodeURIComponent(view)}${path}${search === "" ? "" : `?${search}`}`;
}

/** What is shown now. */
export const route = signal<Route>(readRoute(globalThis.location?.hash ?? ""));

globalThis.addEventListener?.("hashchange", () => {
  route.value = readRoute(location.hash);
});

/** Goes to an address that `href` made; in its place in the history if it only refines what is shown. */
export function navigate(to: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  history[replace ? "replaceState" : "pushState"](null, "", to);
  route.value = readRoute(to);
}

/** What a view is given: the rest of the address. */
export interface ViewProps {
  readonly id: string | undefined;
  readonly query: Query;
}
