// Before each file of the fast tests: a program has one thread where none are asked for. As many files run as there are
// cores, and the second thread of a small program does nothing but wait, which takes a core as well.
import { InferenceSession } from "../src/graph/runtime/onnxruntime.ts";

const { create } = InferenceSession;

/** The files of one worker share the class. */
if (create.name !== "createOnOneThread") {
  const createOnOneThread = (model: Uint8Array, options: InferenceSession.SessionOptions) =>
    create.call(InferenceSession, model, {
      ...options,
      intraOpNumThreads: Math.max(1, options.intraOpNumThreads ?? 0),
    });
  Object.assign(InferenceSession, { create: createOnOneThread });
}
