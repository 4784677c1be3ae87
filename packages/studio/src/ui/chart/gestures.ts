// Wheel, trackpad and dragging with shift: they move and narrow the shown part of the x axis.
import type uPlot from "uplot";
import { panned, type Range, zoomed } from "./range.ts";

/** The shown part of the x axis. */
export interface View {
  readonly shown: () => Range;
  readonly bounds: () => Range;
  readonly show: (range: Range | undefined) => void;
}

/** Factor of the width for one notch of a wheel. */
const NOTCH = 1.0015;

/**
 * Turning the wheel with shift, or a trackpad sideways, pans; with control, or two fingers, it zooms about the pointer. Without
 * either the page scrolls as anywhere else. Dragging with shift pans too; a double click shows everything again.
 */
export function attachGestures(plot: uPlot, { shown, bounds, show }: View): () => void {
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
    const release = (): void => {
      over.removeEventListener("pointermove", move);
      over.removeEventListener("pointerup", release);
      over.removeEventListener("pointercancel", release);
    };
    over.addEventListener("pointermove", move);
    over.addEventListener("pointerup", release);
    over.addEventListener("pointercancel", release);
  };
  const withoutMark = (event: MouseEvent): void => {
    if (event.shiftKey) event.stopImmediatePropagation();
  };
  const reset = (): void => show(undefined);

  over.addEventListener("wheel", wheel, { passive: false });
  over.addEventListener("pointerdown", press);
  over.addEventListener("mousedown", withoutMark, { capture: true });
  over.addEventListener("dblclick", reset);
  return () => {
    over.removeEventListener("wheel", wheel);
    over.removeEventListener("pointerdown", press);
    over.removeEventListener("mousedown", withoutMark, { capture: true });
    over.removeEventListener("dblclick", reset);
  };
}
