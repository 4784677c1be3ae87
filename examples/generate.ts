// A greedy answer and a sampled one to the same prompt, from a session that is opened once. Text comes as it is written.
import { loadModel, openSession } from "mixture-of-shards";

const base = await loadModel("assets/tiny-english");
await using session = await openSession(base, { adapters: [null], maxLength: 128 });

const prompt = { kind: "text", text: "Once upon a time" } as const;
for (const temperature of [0, 0.8]) {
  const options = { maxTokens: 40, seed: 1, sampling: { temperature, topP: 0.95 } };
  for await (const event of session.answer(prompt, options)) {
    if (event.type === "text") process.stdout.write(event.text);
    if (event.type === "end") console.log(` (${event.ids.length} tokens, ${event.reason})`);
  }
}
