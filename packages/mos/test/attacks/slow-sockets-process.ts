// A process that holds connections, each sending a byte every half second, whatever it is told.
import { connect, type Socket } from "node:net";
import { serveParent } from "mixture-of-shards-core/process";

export interface Attack {
  readonly port: number;
  /** What a connection sends first. */
  readonly start: string;
  /** How many it opens at once. */
  readonly connections: number;
  /** How many it opens every half second, in place of dropped ones. */
  readonly again: number;
}

function attack({ port, start, connections, again }: Attack): void {
  const sockets = new Set<Socket>();
  const open = (count: number): void => {
    for (let i = 0; i < count && sockets.size < connections; i++) {
      const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.once("close", () => sockets.delete(socket));
      socket.write(start);
      socket.resume();
    }
    for (const socket of sockets) socket.write("x");
  };
  open(connections);
  setInterval(() => open(again), 500);
}

const methods = { attack };
serveParent(methods);
export type AttackMethods = typeof methods;
