export { deliverWebhooks, isPrivateHost, urlPort } from "./deliver.ts";
