// One attempt to deliver: signed as Standard Webhooks and OpenAI's client have it.
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { Webhook } from "standardwebhooks";
import type { ClaimedDelivery } from "#store";
import { isPrivateHost, lookupPublic, urlPort } from "./address.ts";

/** The same bytes at each attempt. */
function serializeEvent({ event, type, created_at, job }: ClaimedDelivery): string {
  const created = Math.floor(created_at.getTime() / 1000);
  return JSON.stringify({ id: event, object: "event", created_at: created, type, data: { id: job } });
}

/**
 * Posts a delivery, and gives the status of the answer, whose body is not read. Redirects are not followed.
 *
 * @throws what the connection throws, and where the address is private and must not be.
 */
export async function sendDelivery(
  delivery: ClaimedDelivery,
  { ports, signal }: { readonly ports: readonly number[]; readonly signal: AbortSignal },
): Promise<number> {
  const { event, secret, claimed_at, allows_private } = delivery;
  const url = new URL(delivery.url);
  // a connection to an address looks no name up
  if (!allows_private && isPrivateHost(url)) throw new Error(`${url.hostname} has no public address`);
  if (!allows_private && !ports.includes(urlPort(url)))
    throw new Error(`port ${urlPort(url)} is not allowed for webhooks`);
  const body = serializeEvent(delivery);
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "user-agent": "mixture-of-shards",
    "webhook-id": event,
    "webhook-timestamp": Math.floor(claimed_at.getTime() / 1000),
    "webhook-signature": new Webhook(secret).sign(event, claimed_at, body),
  };
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const options = { method: "POST", headers, signal, agent: false } as const;
    const request = send(url, { ...options, ...(allows_private ? {} : { lookup: lookupPublic }) });
    request.on("error", reject);
    request.once("response", (response) => {
      resolve(response.statusCode ?? 0);
      response.on("error", () => undefined).destroy();
    });
    request.end(body);
  });
}
