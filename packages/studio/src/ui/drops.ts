import { type ReadonlySignal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

/**
 * Takes files that are dropped anywhere on the page: the browser would leave the page for them. What it gives says whether one
 * is held over the page.
 */
export function useDrops(send: (file: File) => void): ReadonlySignal<boolean> {
  const isOver = useSignal(false);
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const listen = (type: "dragover" | "dragleave" | "drop", handle: (event: DragEvent) => void): void =>
      addEventListener(type, handle, { signal });
    listen("dragover", (event) => {
      event.preventDefault();
      isOver.value = true;
    });
    listen("dragleave", ({ relatedTarget }) => {
      if (relatedTarget === null) isOver.value = false;
    });
    listen("drop", (event) => {
      event.preventDefault();
      isOver.value = false;
      const [file] = event.dataTransfer?.files ?? [];
      if (file !== undefined) send(file);
    });
    return () => stop.abort();
  }, []);
  return isOver;
}
