import { planTeacher } from "../rollouts/teacher.ts";
import { policyGradient } from "./grpo.ts";
import { objectiveKind } from "./objective.ts";
import { SAMPLING_DEFAULTS } from "./settings.ts";

/**
 * Distillation on the student's own answers: the advantage of a token is the difference of its log-probabilities by teacher
 * and student, so that the gradient is that of their reverse KL divergence at each token.
 */
export const distill = objectiveKind({
  help: "learn to give the answers of a teacher, by what it says of sampled ones",
  data: "prompts",
  defaults: {
    ...SAMPLING_DEFAULTS,
    epsilon: 0.2,
    epsilonHigh: 0.2,
    teacher: undefined,
    teacherModel: undefined,
    advantageLimit: undefined,
  },
  learningRate: 1,
  usesDropout: true,
  grader: (settings, { teacherAccess }) => planTeacher(settings, teacherAccess),
  create: ({ epsilon, epsilonHigh, maxCompletionLength }) =>
    policyGradient({
      beta: 0,
      grpoLoss: "dapo",
      importanceLevel: "token",
      ...{ epsilon, epsilonHigh, maxCompletionLength },
      shown: ["teacher_kl"],
    }),
});
