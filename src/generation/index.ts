export {
  createDecoder,
  type Decoder,
  type DecoderOptions,
  type RowAdapter,
  type SlotFactors,
} from "./decoder.ts";
export { type FinishReason, type GenerateEvent, type GenerateOptions, generate } from "./generate.ts";
export { argmax, checkSampling, type SamplingOptions, sample } from "./sampler.ts";
