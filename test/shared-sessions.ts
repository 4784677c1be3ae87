// Sessions of equal programs are one: tests compile the same small programs of the same few tiny models again and again.
import { createHash } from "node:crypto";
import type { InferenceSession } from "../packages/graph/src/runtime/onnxruntime.ts";

interface Shared {
  readonly session: Promise<InferenceSession>;
  users: number;
}

const sessions = new Map<string, Shared>();
/** Sessions that are kept for others when nobody uses them. */
const MAX_IDLE = 200;
/** Bytes of the largest program that is kept. */
const MAX_BYTES = 1e6;

/** The session of an equal program, or a new one. Each caller has one of its own to release, and cannot run it afterwards. */
export async function shareSession(
  model: Uint8Array,
  options: InferenceSession.SessionOptions,
  create: () => Promise<InferenceSession>,
): Promise<InferenceSession> {
  // constants in files may change, and a profile is of one session
  const isOfFiles = JSON.stringify(options).includes("initializers_file");
  if (model.length > MAX_BYTES || isOfFiles || options.enableProfiling === true) return create();
  const key = createHash("sha1").update(JSON.stringify(options)).update(model).digest("base64");
  const shared = sessions.get(key) ?? { session: create(), users: 0 };
  sessions.delete(key);
  sessions.set(key, shared);
  shared.users++;
  let isReleased = false;
  try {
    const session = await shared.session;
    return Object.assign(Object.create(session) as InferenceSession, {
      run: (...args: Parameters<InferenceSession["run"]>) => {
        if (isReleased) throw new Error("the session was released");
        return session.run(...args);
      },
      release: async () => {
        if (isReleased) throw new Error("the session was released twice");
        isReleased = true;
        shared.users--;
        await releaseIdle();
      },
    });
  } catch (error) {
    sessions.delete(key);
    throw error;
  }
}

/** Releases those that were not used for longest. */
async function releaseIdle(): Promise<void> {
  const idle = [...sessions].filter(([, { users }]) => users === 0);
  for (const [key, { session }] of idle.slice(0, Math.max(0, idle.length - MAX_IDLE))) {
    sessions.delete(key);
    await (await session).release();
  }
}
