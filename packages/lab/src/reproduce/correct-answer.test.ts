import { expect, test } from "vitest";
import { isCorrectAnswer } from "./answers.ts";

const reference = "She sells 48/2 = <<48/2=24>>24 in May.\n#### 1,072";

test.each([
  ["the same", reference, reference, true],
  ["another way to the same number", "It is 1072.\n#### 1072", reference, true],
  ["blanks around the number", "####   1,072  \n", reference, true],
  ["no line break before the mark", "so #### 1072", reference, true],
  ["the last mark counts", "#### 5\n#### 1072", reference, true],
  ["another number", "#### 1073", reference, false],
  ["more than the number", "#### 1072 dollars", reference, false],
  ["no mark", "1072", reference, false],
  ["nothing", "", reference, false],
  ["free text, the same", " Good day.\n", "Good day.", true],
  ["free text, another", "Good day", "Good day.", false],
  ["commas count in free text", "1000", "1,000", false],
  ["a mark inside a line of the reference is text", "#### 3", "No. #### 3", false],
])("%s", (_, answer, expected, isRight) => {
  expect(isCorrectAnswer(answer, expected)).toBe(isRight);
});
