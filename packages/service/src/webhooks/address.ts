// Addresses allowed for a tenant's webhooks: those of the internet, not those that only this network reaches.
import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

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
