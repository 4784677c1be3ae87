// Porter's algorithm: stems of English words (M. F. Porter, "An algorithm for suffix stripping", 1980, with its author's two
// later changes, BLI and LOGI).

const CONSONANT = "(?:[^aeiouy]|(?<![^aeiou])y|^y)";
const VOWEL = "(?:[aeiou]|(?<=[^aeiou])y)";
/** What the algorithm calls m: a vowel followed by a consonant, so many times. */
const measured = (times: string): RegExp => new RegExp(`^${CONSONANT}*(?:${VOWEL}+${CONSONANT}+)${times}`);
const [SOME, SEVERAL] = [measured("{1,}"), measured("{2,}")];
const ONE = new RegExp(`^${CONSONANT}*${VOWEL}+${CONSONANT}+${VOWEL}*$`);
const HAS_VOWEL = new RegExp(VOWEL);
const DOUBLE = /([^aeiouylsz])\1$/;
/** Consonant, vowel, consonant other than w, x and y, as in "hop". */
const SHORT = new RegExp(`${CONSONANT}${VOWEL}[^aeiouwxy]$`);

type Rules = readonly (readonly [suffix: string, replacement: string])[];

const STEP_2: Rules = [
  ["ational", "ate"],
  ["tional", "tion"],
  ["enci", "ence"],
  ["anci", "ance"],
  ["izer", "ize"],
  ["bli", "ble"],
  ["alli", "al"],
  ["entli", "ent"],
  ["eli", "e"],
  ["ousli", "ous"],
  ["ization", "ize"],
  ["ation", "ate"],
  ["ator", "ate"],
  ["alism", "al"],
  ["iveness", "ive"],
  ["fulness", "ful"],
  ["ousness", "ous"],
  ["aliti", "al"],
  ["iviti", "ive"],
  ["biliti", "ble"],
  ["logi", "log"],
];
const STEP_3: Rules = [
  ["icate", "ic"],
  ["ative", ""],
  ["alize", "al"],
  ["iciti", "ic"],
  ["ical", "ic"],
  ["ful", ""],
  ["ness", ""],
];
const STEP_4 = /(?:ement|ance|ence|able|ible|ment|ant|ent|ism|ate|iti|ous|ive|ize|al|er|ic|ou|(?<=[st])ion)$/;

/** The stem of a word in lower case. */
export function stem(word: string): string {
  if (word.length < 3) return word;
  const plain = endVerb(word.replace(/(ss|i)es$/, "$1").replace(/([^s])s$/, "$1"));
  const ended = plain.replace(/y$/, () => (HAS_VOWEL.test(plain.slice(0, -1)) ? "i" : "y"));
  const replaced = replaceSuffix(replaceSuffix(ended, STEP_2), STEP_3);
  const before = replaced.replace(STEP_4, "");
  const short = SEVERAL.test(before) ? before : replaced;
  const withoutE = short.slice(0, -1);
  const dropsE =
    short.endsWith("e") && (SEVERAL.test(withoutE) || (ONE.test(withoutE) && !SHORT.test(withoutE)));
  const result = dropsE ? withoutE : short;
  return result.endsWith("ll") && SEVERAL.test(result.slice(0, -1)) ? result.slice(0, -1) : result;
}

/** Step 1b: -eed, -ed and -ing. */
function endVerb(word: string): string {
  if (word.endsWith("eed")) return SOME.test(word.slice(0, -3)) ? word.slice(0, -1) : word;
  const [, rest] = /^(.*?)(?:ed|ing)$/.exec(word) ?? [];
  if (rest === undefined || !HAS_VOWEL.test(rest)) return word;
  if (/(?:at|bl|iz)$/.test(rest)) return `${rest}e`;
  if (DOUBLE.test(rest)) return rest.slice(0, -1);
  return ONE.test(rest) && SHORT.test(rest) ? `${rest}e` : rest;
}

/** The longest suffix that fits is replaced where the measure of what is before it is not 0. */
function replaceSuffix(word: string, rules: Rules): string {
  const fitting = rules.filter(([suffix]) => word.endsWith(suffix));
  const [longest] = fitting.sort(([a], [b]) => b.length - a.length);
  if (longest === undefined) return word;
  const before = word.slice(0, word.length - longest[0].length);
  return SOME.test(before) ? before + longest[1] : word;
}
