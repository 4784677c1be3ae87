// jstat has no types of its own. Only what is used is declared here.
declare module "jstat" {
  interface StudentT {
    /** P(T ≤ x) at this many degrees of freedom. */
    cdf(x: number, degreesOfFreedom: number): number;
    /** The x with P(T ≤ x) = p. */
    inv(p: number, degreesOfFreedom: number): number;
  }
  const jStat: { readonly studentt: StudentT };
  export = jStat;
}
