// A way to a database that can fall silent, as a database that hangs or a network that loses everything.
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface Proxy extends AsyncDisposable {
  readonly url: string;
  /** From now on, connections stay open and nothing passes. */
  silence(): void;
}

/** Forwards connections of a port of its own to the host of a URL. */
export async function startProxy(url: string): Promise<Proxy> {
  const { hostname, port } = new URL(url);
  let isSilent = false;
  const sockets = new Set<Socket>();
  const forward = (from: Socket, to: Socket): void => {
    sockets.add(from);
    from.on("data", (bytes) => {
      if (!isSilent) to.write(bytes);
    });
    from.on("error", () => undefined).once("close", () => to.destroy());
  };
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    forward(client, upstream);
    forward(upstream, client);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const own = new URL(url);
  own.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: own.href,
    silence: () => {
      isSilent = true;
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
