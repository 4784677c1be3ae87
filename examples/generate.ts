// A greedy answer and a sampled one to the same prompt, from an engine that is opened once. Text comes as it is written.
import { openEngine } from "mixture-of-shards";

await using engine = await openEngine({ model: "assets/tiny-english" });

for (const temperature of [0, 0.8]) {
  const options = { maxTokens: 40, seed: 1, sampling: { temperature, topP: 0.95 } };
  for await (const event of engine.complete("Once upon a time", options)) {
    if (event.type === "token" || event.type === "finish") process.stdout.write(event.text);
    if (event.type === "finish")
      console.log(` (${event.usage.completionTokens} tokens, ${event.finishReason})`);
  }
}
