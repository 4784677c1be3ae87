// VitePress 1.6 names controls by other words than it shows, and nests links in options of a list box; axe calls both serious.
const REPAIRS: Readonly<Record<string, readonly (readonly [RegExp, string])[]>> = {
  "VPNavBarSearchButton.vue": [[/(?<=class="DocSearch-Button-Key")>K</, ' data-key="K"><']],
  "VPLocalSearchBox.vue": [
    [/role="button"/, 'role="dialog"'],
    [/:aria-owns="[^"]+"\s+aria-expanded="true"\s+aria-haspopup="listbox"/, ""],
    [/:role="results[^"]+"/, ""],
    [/:aria-selected=("[^"]+")\s+role="option"/, ":aria-current=$1"],
    [/:aria-label="\[\.\.\.p\.titles[^"]+"/, ""],
    [/ :aria-label="translate\('modal\.footer\.closeKeyAriaLabel'\)"/, ""],
    [/<kbd (?=:aria-label)/g, '<kbd role="img" '],
  ],
};

/** A plugin of Vite that repairs these components; it fails when a new VitePress no longer has what it repairs. */
export const accessible = {
  name: "accessible",
  enforce: "pre" as const,
  transform(code: string, id: string): string | undefined {
    return REPAIRS[id.split("/").at(-1) ?? ""]?.reduce((text, [pattern, repair]) => {
      if (!pattern.test(text)) throw new Error(`${id} has no ${pattern}`);
      return text.replace(pattern, repair);
    }, code);
  },
};
