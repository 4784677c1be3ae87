import { MosError } from "#core";

/** @throws MosError `bad_data` where two questions have one id, which would count one of them twice. */
export function expectUnique(ids: readonly string[], where: string): void {
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) throw new MosError("bad_data", `${where}: two questions have the id ${id}`);
    seen.add(id);
  }
}
