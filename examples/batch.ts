// Requests side by side on one base; with a folder of adapters each can name its own.
import { openEngine } from "mixture-of-shards";

await using engine = await openEngine({ model: "assets/tiny-english" });

async function complete(prompt: string, seed: number): Promise<void> {
  let answer = prompt;
  for await (const event of engine.complete(prompt, { maxTokens: 16, seed }))
    if (event.type === "token" || event.type === "finish") answer += event.text;
  console.log(answer);
}

await Promise.all(["The keeper of the lighthouse", "In the morning"].map(complete));
