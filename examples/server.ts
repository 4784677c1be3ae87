// OpenAI's API over the bundled model and every adapter in a folder. Here it is asked once, and stopped.
import { serve } from "mixture-of-shards";

const server = await serve({ model: "assets/tiny-english", adapters: "adapters", port: 0 });
console.log(`serving at ${server.address}/v1`);

const response = await fetch(`${server.address}/v1/completions`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ model: "tiny-english", prompt: "Once upon a time", max_tokens: 16 }),
});
console.log(await response.text());
await server.stop();
