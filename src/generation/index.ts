export {
  type Decoder,
  type FinishReason,
  type GenerateEvent,
  type GenerateOptions,
  generate,
} from "./generate.ts";
export { argmax, checkSampling, type SamplingOptions, sample } from "./sampler.ts";
