import { Ajv2020 } from "ajv/dist/2020.js";
import ajvFormats from "ajv-formats";
import { describe, expect, test } from "vitest";
import { ANY_TEXT, and } from "#grammar";
import { Sampler } from "../../test/sample.ts";
import { Budget, DEFAULT_LIMITS } from "./budget.ts";
import { Fields } from "./fields.ts";
import { FORMATS, formatOf } from "./formats.ts";
import { Languages } from "./languages.ts";
import { languageOf } from "./strings.ts";

const ajv = new Ajv2020();
ajvFormats.default(ajv);

/** Names that ajv does not have, by the format of which they are a narrower form. */
const KNOWN_AS: Readonly<Record<string, string>> = {
  "host-name": "hostname",
  "idn-hostname": "hostname",
  "idn-email": "email",
  "ip-address": "ipv4",
  iri: "uri",
  "iri-reference": "uri-reference",
};

const EXAMPLES: Readonly<Record<string, readonly string[]>> = {
  "date-time": ["2024-02-29T23:59:59Z", "1990-12-31T23:59:60Z", "2023-06-01T08:30:06.283185+02:00"],
  date: ["2024-02-29", "1963-06-19", "2000-02-29"],
  time: ["08:30:06Z", "23:59:59.999-05:30"],
  duration: ["P4DT12H30M5S", "P1Y2M3D", "PT36H", "P2W", "P1M"],
  email: ["joe.bloggs@example.com", "a+b@mail.example.org"],
  hostname: ["www.example.com", "localhost", "xn--4gbwdl.xn--wgbh1c"],
  ipv4: ["192.168.0.1", "255.255.255.255", "0.0.0.0"],
  ipv6: ["::1", "::", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "::ffff:192.168.0.1", "1::"],
  uuid: ["2EB8AA08-AA98-11EA-B4AA-73B441D16380"],
  uri: [
    "http://example.com",
    "https://user@example.com:8080/a/b?c=d#e",
    "urn:isbn:0451450523",
    "mailto:joe@example.com",
    "http://[::1]/",
    "file:///etc/hosts",
  ],
  "uri-reference": ["/a/b", "a/b?c", "#top", "", "//example.com/x", "../up"],
  "uri-template": ["http://example.com/{term:1}/{list*}{?q,lang}"],
  url: ["https://www.example.com/a?b=c", "http://example.org:8080"],
  "json-pointer": ["", "/foo/0/a~1b"],
  "relative-json-pointer": ["1", "0#", "2/foo/bar"],
  byte: ["TWFu", "TWE=", ""],
};

const WRONG: Readonly<Record<string, readonly string[]>> = {
  "date-time": [
    "2023-02-29T00:00:00Z",
    "2023-01-01T24:00:00Z",
    "2023-01-01 00:00:00",
    "2023-13-01T00:00:00Z",
  ],
  date: ["1900-02-29", "2023-04-31", "23-04-01"],
  duration: ["P", "PT", "P1YT", "1Y"],
  hostname: ["-a.com", "a..b", ""],
  ipv4: ["256.0.0.1", "1.2.3", "01.2.3.4"],
  ipv6: ["1::2::3", "12345::", "1:2:3:4:5:6:7"],
  uri: ["example.com", "http://a b", "//example.com"],
};

const languageOfFormat = (format: string) => {
  const schema = { format };
  const node = {
    id: 0,
    schema,
    pointer: "",
    scope: [],
    resource: { base: "", pointer: "", schema, anchors: new Map(), dynamicAnchors: new Map() },
  };
  const { string } = formatOf(new Fields(node)) ?? {};
  return string && languageOf(string);
};

describe("formats", () => {
  const languages = new Languages(new Budget({ ...DEFAULT_LIMITS, time: 60_000 }));
  let seed = 1;
  // a generator of its own, so that a failure comes again
  const random = (): number => {
    seed = (seed * 48271) % 2147483647;
    return seed / 2147483647;
  };
  const sampler = new Sampler(random);

  for (const format of FORMATS) {
    const language = languageOfFormat(format);
    if (language === undefined) continue;
    test(format, () => {
      const validate = ajv.compile({ type: "string", format: KNOWN_AS[format] ?? format });
      const examples = EXAMPLES[format] ?? [];
      expect(examples.filter((text) => !languages.matches(language, text))).toEqual([]);
      expect((WRONG[format] ?? []).filter((text) => languages.matches(language, text))).toEqual([]);
      const texts = Array.from({ length: 25 }, () => sampler.sample(and(language, ANY_TEXT))).filter(
        (text) => text !== undefined,
      );
      expect(texts.length).toBeGreaterThan(5);
      expect(texts.filter((text) => !validate(text))).toEqual([]);
    });
  }
});
