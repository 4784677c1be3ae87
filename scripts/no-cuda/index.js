// onnxruntime-node's install script calls bootstrap() first, then downloads CUDA libraries on Linux. The CPU and WebGPU
// libraries are inside its package, so there is nothing to fetch unless they are asked for. Every npm runs this in a clone
// without a setting of its own; for other projects, which do not inherit overrides, there is preinstall.mjs.
exports.bootstrap = () => {
  const asked =
    process.env.ONNXRUNTIME_NODE_INSTALL ??
    process.argv.find((arg) => arg.startsWith("--onnxruntime-node-install"));
  if (asked === undefined) process.exit(0);
};
