// What a service says of itself: webhooks to its tenants; metrics and signs of life to its operators.
export { isPrivateHost, portOf } from "./address.ts";
export { deliverWebhooks } from "./deliver.ts";
export { startHeart } from "./heart.ts";
export { createMetrics, type ServiceMetrics } from "./metrics.ts";
export { listenForProbes } from "./probes.ts";
