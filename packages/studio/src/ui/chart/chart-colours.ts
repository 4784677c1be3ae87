import { isDark } from "../theme.ts";

/** Colours that a canvas can draw with, from tokens of the style sheet. */
export interface Theme {
  /** The colour of a series; faint where another line of the same colour matters more. */
  readonly series: (index: number, faint: boolean) => string;
  readonly text: string;
  readonly line: string;
  readonly font: string;
}

/** Tokens `--series-1` to `--series-8`. */
export const SERIES_COLOURS = 8;

/**
 * Reads the theme at an element. A token may be `light-dark(…)` or a mix of colours, which a canvas does not read, so the
 * browser computes each as the colour of a hidden element.
 */
export function readTheme(host: HTMLElement): Theme {
  const probe = host.ownerDocument.createElement("span");
  probe.hidden = true;
  host.append(probe);
  const computed = (value: string): string => {
    probe.style.color = value;
    return getComputedStyle(probe).color;
  };
  const colours = Array.from({ length: SERIES_COLOURS }, (_, index) => {
    const token = `var(--series-${index + 1})`;
    return { full: computed(token), faint: computed(`color-mix(in srgb, ${token} 32%, transparent)`) };
  });
  const { fontFamily } = getComputedStyle(host);
  const theme = { text: computed("var(--text-3)"), line: computed("var(--line)") };
  probe.remove();
  return {
    ...theme,
    font: `11px ${fontFamily}`,
    series: (index, faint) => {
      const colour = colours[index % SERIES_COLOURS];
      return (faint ? colour?.faint : colour?.full) ?? "gray";
    },
  };
}

/** Calls back when the page became light or dark, once its style sheet follows. */
export function watchTheme(changed: () => void): () => void {
  let frame = 0;
  let before = isDark.peek();
  const stop = isDark.subscribe((now) => {
    if (now === before) return;
    before = now;
    frame = requestAnimationFrame(changed);
  });
  return () => {
    stop();
    cancelAnimationFrame(frame);
  };
}
