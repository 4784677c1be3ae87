// Signals of a service: webhooks to its tenants; metrics and heartbeats to its operators.
export { isPrivateHost, urlPort } from "./address.ts";
export { deliverWebhooks } from "./deliver.ts";
export { startHeartbeat } from "./heart.ts";
export { createMetrics, type ServiceMetrics } from "./metrics.ts";
export { listenForProbes } from "./probes.ts";
