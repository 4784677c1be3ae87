// onnxruntime-node's install script calls bootstrap() first, then downloads CUDA libraries on Linux. The CPU and WebGPU
// libraries are inside its package, so there is nothing to fetch. Every npm runs this without a setting of its own.
exports.bootstrap = () => process.exit(0);
