// Draws the pictures of README and docs anew: quickstart.svg from a run of it, pools.svg from an adapter's routing.
// usage: npm run pictures [-- quickstart|pools]   (after npm run build)
import { writeFileSync } from "node:fs";
import { drawPools } from "./pictures/pools.ts";
import { drawQuickstart } from "./pictures/quickstart.ts";

const PICTURES: Readonly<Record<string, () => string>> = { pools: drawPools, quickstart: drawQuickstart };

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(PICTURES);
for (const name of names) {
  const draw = PICTURES[name];
  if (draw === undefined) {
    console.error(`There is no picture ${name}; there are ${Object.keys(PICTURES).join(" and ")}`);
    process.exit(1);
  }
  const svg = draw();
  writeFileSync(`docs/pictures/${name}.svg`, svg);
  console.log(`docs/pictures/${name}.svg: ${svg.length} bytes`);
}
