/** The languages of TyDi QA GoldP in alphabetical order, in which examples are drawn, and their sizes. */
export const LANGUAGES = [
  { name: "arabic", dev: 921, train: 14_805 },
  { name: "bengali", dev: 113, train: 2_390 },
  { name: "english", dev: 440, train: 3_696 },
  { name: "finnish", dev: 782, train: 6_855 },
  { name: "indonesian", dev: 565, train: 5_702 },
  { name: "korean", dev: 276, train: 1_625 },
  { name: "russian", dev: 812, train: 6_490 },
  { name: "swahili", dev: 499, train: 2_755 },
  { name: "telugu", dev: 669, train: 5_563 },
] as const;

export type Language = (typeof LANGUAGES)[number]["name"];
