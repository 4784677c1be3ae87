/** The documentation in reading order: the pages of each section, as paths in docs/ without ".md". */
export const sidebar: readonly { readonly text: string; readonly pages: readonly string[] }[] = [
  { text: "Start", pages: ["index", "tutorial"] },
  {
    text: "How to",
    pages: [
      "how-to/data",
      "how-to/documents",
      "how-to/train",
      "how-to/generate",
      "how-to/serve",
      "how-to/structured-output",
      "how-to/convert",
      "how-to/other-programs",
      "how-to/evaluate",
      "how-to/fine-tuning-service",
      "how-to/deploy",
      "how-to/seven-billion",
      "how-to/reproduce",
      "how-to/bundlers",
      "how-to/troubleshooting",
    ],
  },
  {
    text: "Reference",
    pages: [
      "reference/options",
      "reference/models",
      "reference/adapters",
      "reference/http-api",
      "reference/json-schema",
      "reference/service-api",
      "reference/metrics",
      "reference/files",
      "reference/errors",
    ],
  },
  {
    text: "Explanation",
    pages: [
      "explanation/mos",
      "explanation/graph",
      "explanation/engine",
      "explanation/memory",
      "explanation/benchmarks",
      "explanation/study",
    ],
  },
];
