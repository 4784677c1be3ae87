// An answer while it is written: to the terminal, and to a client of an HTTP server.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";
import { openEngine, textResponse, textStream } from "mixture-of-shards";

await using engine = await openEngine({ model: "assets/tiny-english" });
for await (const text of textStream(engine.complete("Once upon a time"))) process.stdout.write(text);
console.log();

const server = createServer((_request, response) => {
  const answer = engine.chat("What is a lighthouse?", { maxTokens: 64 });
  // writes as fast as the client reads, and cancels the answer when the client leaves
  pipeline(textStream(answer), response).catch((error) => console.error(error.message));
});
await once(server.listen(0, "127.0.0.1"), "listening");
const { port } = server.address() as AddressInfo;
const { body } = await fetch(`http://127.0.0.1:${port}`);
for await (const bytes of body ?? []) process.stdout.write(bytes);
server.close();
console.log();

// the same as a web `Response`: a route handler of Next.js, SvelteKit, Hono, Bun or Deno
const GET = () => textResponse(engine.chat("What is a lighthouse?", { maxTokens: 64 }));
console.log(await (await GET()).text());
