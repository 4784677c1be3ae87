// For operators: metrics, probes, heartbeats.
export { startHeartbeat } from "./heartbeat.ts";
export { createMetrics, type ServiceMetrics } from "./metrics.ts";
export { listenForProbes } from "./probes.ts";
