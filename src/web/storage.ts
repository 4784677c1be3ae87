import { mount, openOpfsVolume } from "#platform/browser";

/**
 * Puts the private files of this origin in their place, which all its tabs share. False where the browser gives none, as in some
 * private windows: then all files are in the memory of this worker.
 */
export async function openStorage(): Promise<boolean> {
  try {
    mount("/", await openOpfsVolume());
    return true;
  } catch {
    return false;
  }
}
