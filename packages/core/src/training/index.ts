export { initialState, loadCheckpoint, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
export {
  type BatchGradients,
  type GradientSource,
  type GradientSourceOptions,
  gradientSource,
  type Parameter,
  type Parameters,
  type TrainableModel,
} from "./gradients.ts";
export { planMemory } from "./memory-plan.ts";
export { countSteps } from "./micro-batches.ts";
export { OBJECTIVES, type ObjectiveName } from "./objectives/index.ts";
export { averageMetrics, type Objective, type ObjectiveKind } from "./objectives/objective.ts";
export { objectiveSettings } from "./objectives/settings.ts";
export {
  type PreviewedLine,
  type PreviewedToken,
  type PreviewOptions,
  previewRun,
  type RunPreview,
} from "./preview.ts";
export { expectedUpdate } from "./resolve-settings.ts";
export type { FinetuneEvent } from "./run/events.ts";
export { finetune } from "./run/finetune.ts";
export type { FinetuneOptions } from "./run/options.ts";
export { describeOutcome, type Outcome } from "./run/outcome.ts";
export { runCheck } from "./run/plan.ts";
export { DEFAULT_KEPT_VERSIONS } from "./run/record.ts";
export { type Measurement, readMeasurements, readRecord, toMeasurement } from "./run-record.ts";
export {
  type ChosenSettings,
  checkpointSettings,
  dataSettings,
  type FinetuneSettings,
  type FinetuneSettingsInput,
  finetuneSettings,
  memorySettings,
  objectiveChoice,
  pickChosen,
  trainingSettings,
  usualLearningRate,
} from "./settings.ts";
export { hiddenStates, type Rematerialise, targetLogprobs } from "./step-graph.ts";
export { metricsToTensorboard } from "./tensorboard.ts";
export { adapterModel, wholeModel } from "./trainable.ts";
export { type TrainEvent, type TrainOptions, type TrainSettings, train } from "./trainer.ts";
export type { StepEvent } from "./update.ts";
export {
  baseOf,
  type Evaluated,
  evaluateLoss,
  isBetter,
  measureOf,
  rewardOf,
  validationLoss,
} from "./validation.ts";
