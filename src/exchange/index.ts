export { type AssembledLora, assembleLora, type SiteFactors } from "./assemble-lora.ts";
export { IMPORT_SOURCES, type ImportSource, type ReadLora, readLora } from "./read-lora.ts";
export { toLora } from "./to-lora.ts";
export { EXPORT_DTYPES, type ExportDtype, writeGgufLora, writePeft } from "./write-lora.ts";
