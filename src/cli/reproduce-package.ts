// The package of the paper's tables and of all pictures, mixture-of-shards-reproduce. It depends on this one, which finds
// it at run time where it is installed.
import { MosError } from "#core";
import type { Inspection } from "#recipes";
import type { Command } from "./command.ts";

/** What the command line uses of each of its doors. */
interface Doors {
  readonly command: { readonly command: Command };
  readonly charts: { readonly drawNorms: (inspection: Inspection, title: string) => string };
}

const NAME = "mixture-of-shards-reproduce";

/** @throws MosError `not_found` where the package is not installed. */
export async function importReproduce<Door extends keyof Doors>(door: Door): Promise<Doors[Door]> {
  try {
    return await import(`${NAME}/${door}`);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ERR_MODULE_NOT_FOUND")) throw cause;
    throw new MosError(
      "not_found",
      `this needs a package of its own, ${NAME}, which is not installed here; add it: npm install ${NAME}`,
      { cause },
    );
  }
}
