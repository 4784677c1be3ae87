export {
  type BestEvaluation,
  initialState,
  loadCheckpoint,
  saveCheckpoint,
  type TrainingState,
} from "./checkpoint.ts";
export { drawTape, dropoutMask, tapeLength } from "./dropout.ts";
export {
  type BatchGradients,
  type GradientSource,
  gradientSource,
  type Parameter,
  type TrainableModel,
} from "./gradients.ts";
export { type AdamWOptions, adamW, clipFactor, emptyMoments, globalNorm, type Moments } from "./optimizer.ts";
export { learningRateFactor, SCHEDULES, type ScheduleName } from "./schedule.ts";
export {
  type BatchGraphOptions,
  hiddenStates,
  type LossGraphOptions,
  lossGraph,
  type StepShape,
  stepOutputs,
} from "./step.ts";
export {
  type BatchSettings,
  evaluateLoss,
  type StepEvent,
  stepsOfEpochs,
  type TrainEvent,
  type TrainOptions,
  type TrainSettings,
  train,
} from "./trainer.ts";
