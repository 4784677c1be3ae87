// A part of an axis, and the gestures that move and narrow it: wheel, trackpad, dragging with shift.
import type uPlot from "uplot";
import type { Plot } from "./plot.ts";

/** A part of an axis. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Moves a range within bounds, keeping its width. */
export function panned({ min, max }: Range, by: number, bounds: Range): Range {
  const within = Math.min(Math.max(by, bounds.min - min), bounds.max - max);
  return { min: min + within, max: max + within };
}

/**
 * Narrows a range to `factor` of its width, or widens it up to the bounds; the value `at` stays where it is on the screen.
 *
 * @returns the range unchanged where less than a thousandth of the bounds would be left.
 */
export function zoomed(range: Range, { at, factor }: { at: number; factor: number }, bounds: Range): Range {
  const { min, max } = range;
  const next = { min: at - (at - min) * factor, max: at + (max - at) * factor };
  if (next.max - next.min < (bounds.max - bounds.min) / 1000) return range;
  return { min: Math.max(bounds.min, next.min), max: Math.min(bounds.max, next.max) };
}

/** Tests for a range that leaves nothing out. */
export const isWhole = ({ min, max }: Range, bounds: Range): boolean =>
  min <= bounds.min && max >= bounds.max;

/** Factor of the width for one notch of a wheel. */
const NOTCH = 1.0015;

/**
 * Turning the wheel with shift, or a trackpad sideways, pans; with control, or two fingers, it zooms about the pointer. Without
 * either the page scrolls as anywhere else. Dragging with shift pans too; a double click shows everything again.
 */
export function attachGestures(
  plot: uPlot,
  { shown, bounds, show }: Pick<Plot, "shown" | "bounds" | "show">,
): () => void {
  const { over } = plot;
  const perPixel = (): number => (shown().max - shown().min) / Math.max(1, over.clientWidth);

  const wheel = (event: WheelEvent): void => {
    const sideways = event.shiftKey && event.deltaX === 0 ? event.deltaY : event.deltaX;
    if (event.ctrlKey) {
      const at = plot.posToVal(event.clientX - over.getBoundingClientRect().left, "x");
      show(zoomed(shown(), { at, factor: NOTCH ** event.deltaY }, bounds()));
    } else if (event.shiftKey || Math.abs(sideways) > Math.abs(event.deltaY)) {
      show(panned(shown(), sideways * perPixel(), bounds()));
    } else return;
    event.preventDefault();
  };

  // before the library's own handler, which would begin to mark a part
  const press = (event: PointerEvent): void => {
    if (!event.shiftKey || event.button !== 0) return;
    const from = shown();
    const scale = perPixel();
    over.setPointerCapture(event.pointerId);
    const move = ({ clientX }: PointerEvent): void =>
      show(panned(from, (event.clientX - clientX) * scale, bounds()));
    const released = new AbortController();
    over.addEventListener("pointermove", move, released);
    for (const type of ["pointerup", "pointercancel"])
      over.addEventListener(type, () => released.abort(), released);
  };
  const withoutMark = (event: MouseEvent): void => {
    if (event.shiftKey) event.stopImmediatePropagation();
  };
  const ended = new AbortController();
  const { signal } = ended;
  over.addEventListener("wheel", wheel, { passive: false, signal });
  over.addEventListener("pointerdown", press, { signal });
  over.addEventListener("mousedown", withoutMark, { capture: true, signal });
  over.addEventListener("dblclick", () => show(undefined), { signal });
  return () => ended.abort();
}
