// The study of docs/explanation/study.md, from its archive.
// usage: npm run study                 prints every row with its rates, seeds, intervals and commands
//        npm run study -- --page FILE  computes the tables of a page again
// `tar -tzf docs/results/study.tar.gz` lists the archive, `tar -xzf` unpacks it: cells (a file for each training), facts (the
// data of the tenants), tables (the runs before the study), base-quality, and scripts (the programs that ran all of it).
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { writeFileAtomic } from "#files";
import { fillTables, withStudy } from "./study/archive.ts";
import { computeTables } from "./study/tables.ts";

const { page } = parseArgs({ options: { page: { type: "string" } } }).values;
const { parts, details } = await withStudy(computeTables);
if (page === undefined) process.stdout.write(details);
else await writeFileAtomic(page, fillTables(await readFile(page, "utf8"), parts));
