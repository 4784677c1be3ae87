// Which addresses a webhook of a tenant may have: those of the internet, not those that only this network reaches.
import { lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

const isPublic = (address: string): boolean =>
  ipaddr.isValid(address) && ipaddr.process(address).range() === "unicast";

/** The host of a URL that can only be private: an address, or a name of this machine. Other names are looked up later. */
export function isPrivateHost({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, "");
  if (/(^|\.)localhost\.?$/.test(host)) return true;
  return ipaddr.isValid(host) && !isPublic(host);
}

/** Looks a name up for a connection, which is made to nothing but the addresses that were checked here. */
export const lookupPublic: LookupFunction = (hostname, options, done) => {
  lookup(hostname, options, (error, found, family) => {
    const addresses = typeof found === "string" ? [found] : (found ?? []).map(({ address }) => address);
    // the same for a name that is not there: which names a private network has is nobody's business
    if (error !== null || !addresses.every(isPublic))
      done(new Error(`${hostname} has no public address`), "", 0);
    else done(null, found, family);
  });
};
