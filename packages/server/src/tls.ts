// The certificate of HTTPS and its key: read and checked at the start, and again when their files change.
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Server } from "node:https";
import { createSecureContext } from "node:tls";
import { errorText, MosError } from "mixture-of-shards-core/common";
import { fileStamp, readBytes } from "mixture-of-shards-core/files";
import type { ServerLog } from "./metrics.ts";

/** Files in PEM. */
export interface TlsOptions {
  /** The server's certificate, and after it those between it and a root. */
  readonly certFile: string;
  /** Its private key, not encrypted. */
  readonly keyFile: string;
  /** Milliseconds since 1970 by the machine's clock. */
  readonly date: () => number;
  /** Logger of reloads and their failures. */
  readonly log: Pick<ServerLog, "info" | "warn" | "error">;
  /** Interval of checks, in milliseconds (10,000). */
  readonly checkEvery?: number;
}

/** A certificate that was read and checked. */
export type OpenCertificate = Awaited<ReturnType<typeof openCertificate>>;

const invalid = (message: string, cause?: unknown): MosError =>
  new MosError("bad_option", message, { cause });
const read = async (path: string): Promise<Buffer> =>
  Buffer.from(await readBytes(path, { code: "bad_option", maximumBytes: 1 << 20 }));

function parsed<T>(parse: () => T, problem: (cause: unknown) => string): T {
  try {
    return parse();
  } catch (cause) {
    throw invalid(problem(cause), cause);
  }
}

async function readPair({ certFile, keyFile, date, log }: TlsOptions) {
  const [cert, key] = [await read(certFile), await read(keyFile)];
  const certificate = parsed(
    () => new X509Certificate(cert),
    () => `--tls-cert ${certFile}: not a PEM certificate`,
  );
  const problem = key.includes("ENCRYPTED")
    ? "the key is encrypted; store it without a passphrase, readable by the server only"
    : "not a PEM private key";
  const privateKey = parsed(
    () => createPrivateKey(key),
    () => `--tls-key ${keyFile}: ${problem}`,
  );
  if (!certificate.checkPrivateKey(privateKey))
    throw invalid(`--tls-key ${keyFile} does not match the certificate in --tls-cert ${certFile}`);
  parsed(
    () => createSecureContext({ cert, key }),
    (cause) => `--tls-cert ${certFile}, --tls-key ${keyFile}: ${errorText(cause)}`,
  );
  if (Date.parse(certificate.validTo) < date())
    log.warn({ expired: certificate.validTo }, "the TLS certificate has expired");
  return { cert, key };
}

/** Interval between comparisons of the files' times, in milliseconds. */
const CHECK_EVERY = 10_000;

/** Size and times of both files. */
async function readStamp({ certFile, keyFile }: TlsOptions): Promise<string> {
  const stamps = await Promise.all([certFile, keyFile].map((path) => fileStamp(path).catch(() => "")));
  return stamps.join(" ");
}

/**
 * Reads and checks the two files.
 *
 * @throws MosError `bad_option`, `not_found` or `storage`, naming the file.
 */
export async function openCertificate(options: TlsOptions) {
  const { log, checkEvery = CHECK_EVERY } = options;
  let stamp = await readStamp(options);
  const pair = await readPair(options);
  return {
    /** As Node's servers take it. */
    pair,
    /**
     * Gives the server its certificate again when the files have changed; new connections have it. Files that do not belong
     * together, as in the middle of a renewal, leave the old one in use. Returns what ends the watching.
     */
    watch(server: Pick<Server, "setSecureContext">): () => void {
      let reported = "";
      const refresh = async (): Promise<void> => {
        const found = await readStamp(options);
        if (found === stamp) return;
        try {
          server.setSecureContext(await readPair(options));
          stamp = found; // not before: a file may become readable without a change
          reported = "";
          log.info({}, "reloaded the TLS certificate");
        } catch (error) {
          const reason = errorText(error);
          if (reason !== reported)
            log.error({ reason }, "the TLS certificate cannot be read; keeping the previous one");
          reported = reason;
        }
      };
      const timer = setInterval(() => void refresh(), checkEvery).unref();
      return () => clearInterval(timer);
    },
  };
}
