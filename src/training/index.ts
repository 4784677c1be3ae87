export {
  type BestEvaluation,
  initialState,
  loadCheckpoint,
  saveCheckpoint,
  type TrainingState,
} from "./checkpoint.ts";
export { drawMaskBuffer, dropoutMask, maskBufferLength } from "./dropout.ts";
export {
  type BatchGradients,
  type GradientSource,
  type GradientSourceOptions,
  gradientSource,
  type Parameter,
  type TrainableModel,
} from "./gradients.ts";
export { evaluateLoss, type HeldOutLoss } from "./held-out.ts";
export { baseBytes, type PlannedModel, type TrainingMemoryOptions, trainingMemory } from "./memory.ts";
export {
  type BatchSettings,
  type PaddedBatches,
  paddedTokens,
  rowsAtOnce,
  runTokens,
  stepsOfEpochs,
} from "./micro-batches.ts";
export {
  type AdamWOptions,
  adamW,
  clipFactor,
  emptyMoments,
  globalNorm,
  learningRateFactor,
  type Moments,
  SCHEDULES,
  type ScheduleName,
} from "./optimizer.ts";
export { type TrainingSpeed, trainingSpeed } from "./speed.ts";
export {
  type BatchGraphOptions,
  hiddenStates,
  type LossGraphOptions,
  lossGraph,
  type Rematerialise,
  type StepShape,
  stepOutputs,
} from "./step.ts";
export { type TrainEvent, type TrainOptions, type TrainSettings, train } from "./trainer.ts";
export type { StepEvent } from "./update.ts";
