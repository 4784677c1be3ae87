// The graph alone: symbolic values, a gradient, and the ONNX model that any runtime can run.
import { grad, leaf, matmul, mul, serialize, sum } from "mixture-of-shards/graph";

const x = leaf("x", ["rows", 3]); // "rows" is known to the run only
const w = leaf("w", [3, 2]);
const y = matmul(x, w);
const loss = sum(mul(y, y));
const [dw] = grad(loss, [w]);
if (dw === undefined) throw new Error("a gradient for each input");

const { model, inputs } = serialize({ loss, dw });
console.log("inputs", [...inputs.keys()].join(", "));
console.log("gradient", dw.shape.join(" × "));
console.log("onnx bytes", model.length);
