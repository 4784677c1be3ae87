// Requests side by side on one base; with a folder of adapters each can name its own.
import { loadModel } from "mixture-of-shards";
import { openEngine } from "mixture-of-shards/inference";

const { text } = await loadModel("assets/tiny-english");
await using engine = await openEngine({ model: "assets/tiny-english" });

async function complete(beginning: string, seed: number): Promise<void> {
  const prompt = text.tokenizer.encode(beginning);
  const request = { prompt, maxTokens: 16, seed, continuesPrompt: true };
  let answer = beginning;
  for await (const event of engine.submit(request))
    if (event.type === "token" || event.type === "finish") answer += event.text;
  console.log(answer);
}

await Promise.all(["The keeper of the lighthouse", "In the morning"].map(complete));
