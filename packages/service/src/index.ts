// Fine-tuning as a service: what mos serve adds to a server where it is given a place for its state.
export { openService } from "./service.ts";
