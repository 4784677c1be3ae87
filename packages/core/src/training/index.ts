export { answerPrompts } from "./augment/replay.ts";
export { isShort, otherWordings } from "./augment/wordings.ts";
export { initialState, loadCheckpoint, saveCheckpoint, type TrainingState } from "./checkpoint.ts";
export {
  type BatchGradients,
  type GradientSource,
  type GradientSourceOptions,
  gradientSource,
} from "./gradients.ts";
export { leastMemory, planMemory } from "./memory-plan.ts";
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
export { type GraderTools, openGrader } from "./rollouts/rewards.ts";
export { finetune } from "./run/finetune.ts";
export { DEFAULT_KEPT_VERSIONS } from "./run/folder.ts";
export type { FinetuneEvent, FinetuneOptions, RunFollower } from "./run/interface.ts";
export { describeOutcome, evenly, type Outcome, outcomeWarning, readOutcome } from "./run/outcome.ts";
export { runCheck } from "./run/plan.ts";
export { type Measurement, readMeasurements, readRecord, toMeasurement } from "./run-record.ts";
export * from "./settings.ts";
export {
  adapterModel,
  hiddenStates,
  type Parameter,
  type Parameters,
  type Rematerialise,
  type TrainableModel,
  targetLogprobs,
  wholeModel,
} from "./step-graph.ts";
export { metricsToTensorboard, toScalars } from "./tensorboard.ts";
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
