// The models of a server for the trainers of its own workers: on a port of this machine alone, whatever the server listens on.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";

/** Passes chat completions on to the server's API, which checks their keys. `url` is the base URL. */
export async function openLocalModels(fetch: (request: Request) => Response | Promise<Response>) {
  const server = createServer(async (incoming, outgoing) => {
    const left = new AbortController();
    outgoing.once("close", () => left.abort());
    const { authorization = "", "content-type": type = "", host = "" } = incoming.headers;
    try {
      // by the name that it was called by, which the server checks
      const request = new Request(`http://${host}/v1/chat/completions`, {
        method: "POST",
        headers: { authorization, "content-type": type },
        body: Readable.toWeb(incoming),
        duplex: "half",
        signal: left.signal,
      });
      const answer = await fetch(request);
      const body = Buffer.from(await answer.arrayBuffer());
      outgoing.writeHead(answer.status, Object.fromEntries(answer.headers)).end(body);
    } catch {
      outgoing.destroy(); // the client has left
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
