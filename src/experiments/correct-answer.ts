/** Where GSM8K's answers have their number. */
const MARK = "####";

const hasMarkedLine = (text: string): boolean => text.split("\n").some((line) => line.startsWith(MARK));

/** What follows the last "####", without commas, which only group digits there. */
const afterMark = (text: string): string | undefined => {
  const at = text.lastIndexOf(MARK);
  return at < 0
    ? undefined
    : text
        .slice(at + MARK.length)
        .replaceAll(",", "")
        .trim();
};

/**
 * Whether an answer is the reference. Where the reference has a line that starts with "####" (GSM8K), the texts after
 * the last "####" are compared, trimmed and without commas; an answer without one is wrong. Else the whole texts are,
 * trimmed.
 *
 * @example
 * isCorrectAnswer("So it is 1,000.\n#### 1,000", "#### 1000"); // true
 */
export function isCorrectAnswer(answer: string, reference: string): boolean {
  if (!hasMarkedLine(reference)) return answer.trim() === reference.trim();
  return afterMark(answer) === afterMark(reference);
}
