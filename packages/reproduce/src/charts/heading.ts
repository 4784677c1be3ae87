// Apart from what draws, so that the package's types do not need those of Observable Plot.

/** The words above a picture, and below it. */
export interface Heading {
  readonly title?: string;
  readonly subtitle?: string;
  /** What a reader needs to know of the marks and the numbers; each line wraps. */
  readonly note?: string;
}

/** Which end of the values is the good one. */
export type Better = "lower" | "higher";
