/** Signals that ask a program to end, and what the program does about them. */
export interface Interrupt extends Disposable {
  /** Fires at the first Ctrl-C or SIGTERM. A second one ends the process at once. */
  readonly signal: AbortSignal;
}

const EXIT_INTERRUPTED = 130;

/** Listens for Ctrl-C until disposed of. `onFirst` tells the user what happens now. */
export function listenForInterrupt(onFirst: () => void = () => undefined): Interrupt {
  const controller = new AbortController();
  const listener = (): void => {
    if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    controller.abort();
    onFirst();
  };
  process.on("SIGINT", listener).on("SIGTERM", listener);
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      process.off("SIGINT", listener).off("SIGTERM", listener);
    },
  };
}
