// npm runs this in a project that installs this package, before the install script of onnxruntime-node. On Linux x64 that
// script fetches hundreds of megabytes of CUDA libraries from NuGet, and fails where NuGet cannot be reached, unless it
// finds them in place. Nothing on the CPU reads them, so a line of text stands in for each. Who wants CUDA has them
// fetched over it, by the same script:
//   node node_modules/onnxruntime-node/script/install --onnxruntime-node-install
import { existsSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, join } from "node:path";

const TEXT = `Not a library: mixture-of-shards put this here so that installing fetches no CUDA files.
To fetch them: node node_modules/onnxruntime-node/script/install --onnxruntime-node-install
`;

/** How a user asks onnxruntime-node for CUDA files, or for none; then it is not for us to decide. */
const WISHES = ["ONNXRUNTIME_NODE_INSTALL", "ONNXRUNTIME_NODE_INSTALL_CUDA"];

function standIn() {
  if (WISHES.some((name) => process.env[name] ?? process.env[`npm_config_${name.toLowerCase()}`])) return;
  const require = createRequire(import.meta.url);
  const folder = dirname(require.resolve("onnxruntime-node/package.json"));
  const { requirements, manifests } = require("onnxruntime-node/script/install-metadata.js");
  const system = `${platform()}/${arch()}`;
  const files = (requirements[system] ?? []).flatMap((name) => Object.keys(manifests[`${system}:${name}`]));
  for (const path of files.map((file) => join(folder, "bin/napi-v6", system, file)))
    if (!existsSync(path)) writeFileSync(path, TEXT);
}

try {
  standIn();
} catch {
  // an install must not fail for want of this: onnxruntime-node's script then does as it always does
}
