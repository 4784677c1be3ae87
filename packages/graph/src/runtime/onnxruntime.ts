import "./no-telemetry.ts";

export { env, InferenceSession, Tensor } from "onnxruntime-node";
