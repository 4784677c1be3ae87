// Delivers webhooks at least once: several servers share the work, and what a dead one had is delivered by another.

import { lookup } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import ipaddr from "ipaddr.js";
import type { ServerLog } from "mixture-of-shards/server";
import { abortAfter, errorText } from "mixture-of-shards-core/common";
import { Webhook } from "standardwebhooks";
import type { AttemptEnd, ClaimedDelivery, Outbox } from "#store";

/** Options of deliveries. */
interface DeliverOptions {
  readonly outbox: Outbox;
  readonly log: ServerLog;
  /** Allowed ports of tenants' URLs. */
  readonly ports: readonly number[];
  /** Ends running attempts; they are made again. */
  readonly signal: AbortSignal;
  /** An attempt has ended. */
  readonly onAttempt: (outcome: "delivered" | "retried" | "failed") => void;
  /** Seconds until each further attempt. */
  readonly pauses?: readonly number[];
  /** Seconds that a receiver has to answer, and seconds between looks at an empty outbox. */
  readonly answerSeconds?: number;
  readonly idleSeconds?: number;
}

const HOUR = 3600;
/** About three days. */
const PAUSES = [5, 30, 300, 1800, 2 * HOUR, 6 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR];
/** Attempts that run side by side, of all tenants and of one: a receiver that hangs delays nobody else. */
const [MAX_CONCURRENT, MAX_PER_TENANT] = [64, 4];
/** Seconds beyond an attempt's own after which another server makes it again. */
const LEASE = 50;
/** Seconds after which a database that failed is tried again. */
const BROKEN = 5;

/** Delivers until the signal is aborted. */
export async function deliverWebhooks(options: DeliverOptions): Promise<void> {
  const { outbox, log, signal, answerSeconds = 10, idleSeconds = 1 } = options;
  const running = new Map<Promise<void>, string>();
  while (!signal.aborted) {
    const tenants = [...running.values()];
    const except = tenants.filter(
      (tenant) => tenants.filter((other) => other === tenant).length >= MAX_PER_TENANT,
    );
    try {
      const isFull = running.size >= MAX_CONCURRENT;
      const delivery = isFull ? undefined : await outbox.claim(except, answerSeconds + LEASE);
      if (delivery === undefined)
        await sleep(idleSeconds * 1000, undefined, { signal }).catch(() => undefined);
      else {
        const work = attempt(delivery, { ...options, answerSeconds }).finally(() => running.delete(work));
        running.set(work, delivery.tenant);
      }
    } catch (error) {
      log.warn({ reason: String(error) }, "delivering webhooks failed; retrying later");
      await sleep(BROKEN * 1000, undefined, { signal }).catch(() => undefined);
    }
  }
  await Promise.all(running.keys());
}

type AttemptOptions = DeliverOptions & { readonly answerSeconds: number };

async function attempt(delivery: ClaimedDelivery, options: AttemptOptions): Promise<void> {
  const { outbox, log, onAttempt } = options;
  const started = performance.now();
  const end = await attemptDelivery(delivery, options);
  const { status, error, again } = end;
  const outcome = again !== undefined ? "retried" : end.type === "delivered" ? "delivered" : "failed";
  const { id, event, type, tenant, webhook, attempts } = delivery;
  const seconds = Math.round(performance.now() - started) / 1000;
  log.info(
    { delivery: id, webhook, tenant, event, type, attempt: attempts, outcome, status, error, seconds },
    "webhook",
  );
  onAttempt(outcome);
  await outbox.end(delivery, end).catch((error: unknown) => {
    log.warn({ delivery: id, reason: String(error) }, "a webhook may be delivered twice");
  });
}

async function attemptDelivery(
  delivery: ClaimedDelivery,
  { ports, signal, answerSeconds, pauses = PAUSES }: AttemptOptions,
): Promise<AttemptEnd> {
  const again = pauses[delivery.attempts - 1];
  using limit = abortAfter(answerSeconds * 1000, signal);
  try {
    const status = await sendDelivery(delivery, { ports, signal: limit.signal });
    if (status >= 200 && status < 300) return { type: "delivered", status };
    if (status === 410) return { type: "gone", status };
    return { type: "failed", again, status, error: `the receiver returned status ${status}` };
  } catch (error) {
    if (signal.aborted) return { type: "failed", again: 0, error: "the server stopped" };
    const reason = errorText(error);
    const message = limit.isLate ? `the receiver did not respond within ${answerSeconds} seconds` : reason;
    return { type: "failed", again, error: message };
  }
}

/** The same bytes at each attempt. */
function serializeEvent({ event, type, created_at, job }: ClaimedDelivery): string {
  const created = Math.floor(created_at.getTime() / 1000);
  return JSON.stringify({ id: event, object: "event", created_at: created, type, data: { id: job } });
}

/**
 * Posts a delivery, signed as Standard Webhooks and OpenAI's client have it, and gives the status of the answer, whose body is
 * not read. Redirects are not followed.
 *
 * @throws what the connection throws, and where the address is private and must not be.
 */
async function sendDelivery(
  delivery: ClaimedDelivery,
  { ports, signal }: { readonly ports: readonly number[]; readonly signal: AbortSignal },
): Promise<number> {
  const { event, secret, claimed_at, allows_private } = delivery;
  const url = new URL(delivery.url);
  // a connection to an address looks no name up
  if (!allows_private && isPrivateHost(url))
    throw new Error(`${url.hostname} does not resolve to a public address`);
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

/**
 * Addresses of a cloud's own services, which look like others of the internet: Azure's for its machines, and the network of
 * IBM Cloud's services. All other clouds' are link-local, private or reserved.
 */
const OF_CLOUDS = ["168.63.129.16/32", "161.26.0.0/16", "166.8.0.0/14"].map((range) =>
  ipaddr.IPv4.parseCIDR(range),
);
/** All that IPv6 has of the internet. What stands for an IPv4 address is elsewhere, or has a range of its own here. */
const INTERNET = ipaddr.IPv6.parseCIDR("2000::/3");

function isPublic(text: string): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.parse(text);
  if (address.range() !== "unicast") return false;
  return address instanceof ipaddr.IPv4
    ? !OF_CLOUDS.some((range) => address.match(range))
    : address.match(INTERNET);
}

/** The host of a URL that can only be private: an address, or a name of this machine. Other names are looked up later. */
export function isPrivateHost({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (/(^|\.)localhost\.?$/.test(host)) return true;
  return ipaddr.isValid(host) && !isPublic(host);
}

/** The port of a URL of HTTP or HTTPS. */
export const urlPort = ({ port, protocol }: URL): number =>
  port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);

/** Looks a name up for a connection, which is made to nothing but the addresses that were checked here. */
export const lookupPublic: LookupFunction = (hostname, options, done) => {
  lookup(hostname, options, (error, found, family) => {
    const addresses = typeof found === "string" ? [found] : (found ?? []).map(({ address }) => address);
    // the same for a name that is not there: which names a private network has is nobody's business
    if (error !== null || !addresses.every(isPublic))
      done(new Error(`${hostname} does not resolve to a public address`), "", 0);
    else done(null, found, family);
  });
};
