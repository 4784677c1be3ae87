/** Downloads contents as a file. */
export function saveFile(name: string, contents: string | Uint8Array<ArrayBuffer>): void {
  const href = URL.createObjectURL(new Blob([contents], { type: "application/octet-stream" }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  // the download has begun by then
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}
