// A run as the visitor sees it: the examples that they write, its progress, and the loss.
import { drawLoss, smooth } from "./chart.js";
import { bar, picture, text } from "./elements.js";
import { announce } from "./words.js";

/**
 * Lines as examples. Throws an error that names a line without an arrow, or with nothing on one side of it.
 *
 * @param {string} lines
 */
export function readExamples(lines) {
  const examples = lines.split("\n").flatMap((line, i) => {
    if (line.trim() === "") return [];
    const [, prompt, completion] = /^\s*(.*?\S)\s*(?:→|->|=>|\t)\s*(\S.*?)\s*$/.exec(line) ?? [];
    if (prompt !== undefined && completion !== undefined) return [{ prompt, completion }];
    throw new Error(`Line ${i + 1} is not an example yet: write a question, an arrow (->) and the answer.`);
  });
  if (examples.length === 0)
    throw new Error("Write at least one example: a question, an arrow (->) and the answer.");
  return examples;
}

/**
 * What is known of a run.
 *
 * @typedef {object} Run
 * @property {number[]} losses Of the updates that were seen.
 * @property {number} first Updates that were made before, of a run that goes on.
 * @property {number} steps Updates in all.
 * @property {number} window Updates of one pass through the examples.
 * @property {number} began When the first update was made.
 */

/**
 * Shows the events of a run, and returns whether it came to its end.
 *
 * @param {ReturnType<import("./mos/index.js").Web["finetune"]>} events
 * @param {() => void} begun called once it can be resumed
 */
export async function followRun(events, begun) {
  /** @type {Run} */
  const run = { losses: [], first: 0, steps: 0, window: 1, began: 0 };
  for await (const event of events) {
    if (event.type === "ready") {
      [run.steps, run.first] = [event.steps, event.step];
      run.window = Math.max(1, Math.round(event.steps / event.epochs));
      begun();
    } else if (event.type === "step") showStep(run, event.loss);
    else if (event.type === "stopped") {
      announce(`Stopped after ${run.first + run.losses.length} of ${run.steps} updates.`);
      return false;
    }
  }
  const [from = 0, to = 0] = [run.losses[0], smooth(run.losses, run.window).at(-1)];
  announce(`Done: the loss fell from ${from.toFixed(1)} to ${to.toFixed(2)}.`);
  return true;
}

/**
 * @param {Run} run
 * @param {number} loss
 */
function showStep(run, loss) {
  const { losses, first, steps } = run;
  // the first update compiles the program, and says nothing of the others
  if (losses.push(loss) === 1) run.began = performance.now();
  const step = first + losses.length;
  const seconds = (performance.now() - run.began) / 1000 / Math.max(1, losses.length - 1);
  const left = losses.length < 3 ? "" : `, ${describeTime(seconds * (steps - step))} left`;
  const says = `${step} of ${steps} updates${left}`;
  text("status").textContent = says;
  bar("progress").value = step / steps;
  // a drawing for every pixel is enough, and so are four announcements
  if (step % Math.ceil(steps / 250) === 0) drawLoss(picture("chart"), run);
  if (step % Math.ceil(steps / 4) === 0) announce(says);
}

/** @param {number} seconds */
const describeTime = (seconds) =>
  seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s` : `about ${Math.round(seconds / 60)} min`;
