export { cachedAttention, type Fresh } from "./cached-attention.ts";
export {
  createDecoder,
  type Decoder,
  type DecoderOptions,
  type RowAdapter,
  type SlotFactors,
} from "./decoder.ts";
export { type FinishReason, type GenerateEvent, type GenerateOptions, generate } from "./generate.ts";
export { bytesPerPlace, placesFor, RowCache, type RowRange } from "./row-cache.ts";
export { argmax, checkSampling, type SamplingOptions, sample } from "./sampler.ts";
export { cutLogits, type Step, stepFeeds } from "./step-feeds.ts";
