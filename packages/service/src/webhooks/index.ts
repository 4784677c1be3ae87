export { isPrivateHost, urlPort } from "./address.ts";
export { deliverWebhooks } from "./deliver.ts";
