// What is asked of a model to measure drafts: three passages to repeat, to correct and to extract from, and four plain questions.

export interface Task {
  readonly kind: "repeat" | "correct" | "extract" | "question";
  readonly user: string;
}

const PASSAGES = [
  "The harbour office opens at seven in the morning. Anna Lindqvist has kept its books since 1987. Every boat pays a fee of 45 crowns a night, or 240 crowns a week. Electricity costs 3 crowns a kilowatt-hour, and water is free. Boats longer than 12 metres need a permit, which Anna writes by hand. In winter the office is closed, but the key hangs behind the blue door of the bakery.",
  `def read_rows(path, limit=100):
    rows = []
    with open(path) as file:
        for number, line in enumerate(file):
            if number >= limit:
                break
            name, price = line.strip().split(",")
            rows.append({"name": name, "price": float(price)})
    return rows


def total(rows):
    return sum(row["price"] for row in rows)
`,
  "Order 7731 was placed on 4 March by the Miller Garden Centre. It contains 12 bags of potting soil at 8.50 each, 3 spades at 24.90 each, and 40 tulip bulbs at 0.35 each. Delivery is due on 11 March between nine and noon. The invoice goes to accounts@miller-garden.example, and payment is due within 30 days. Please call Mr. Okafor at 555-0142 before you arrive.",
];

export const TASKS: readonly Task[] = [
  ...PASSAGES.flatMap((passage): readonly Task[] => [
    { kind: "repeat", user: `Repeat the following text word for word.\n\n${passage}` },
    {
      kind: "correct",
      user: `Correct spelling mistakes in the following text. Write the whole text again, and change nothing else.\n\n${passage}`,
    },
    { kind: "extract", user: `${passage}\n\nCopy the parts of this text that contain numbers.` },
  ]),
  { kind: "question", user: "Write a story about a fox." },
  { kind: "question", user: "Explain how a bicycle works." },
  { kind: "question", user: "Give me advice for a job interview." },
  { kind: "question", user: "Describe a market in the morning." },
];
