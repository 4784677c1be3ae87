import { CommanderError } from "commander";
import { expect, test } from "vitest";
import { MosError } from "#core";
import { describeFailure, failureText } from "./failure.ts";

const train = {
  command: "mos train",
  options: new Map([
    ["learningRate", "--learning-rate"],
    ["rank", "--rank"],
  ]),
};

test("an option that cannot be used is named as the user wrote it, with exit code 2", () => {
  const error = new MosError("bad_option", "learningRate: 50 is invalid (too big)");
  expect(describeFailure(error, train)).toEqual({
    code: "bad_option",
    message: "--learning-rate: 50 is invalid (too big)",
    exitCode: 2,
  });
});

test("words of other errors are left alone", () => {
  const error = new MosError("bad_data", "rank.jsonl:3: this is not JSON");
  expect(describeFailure(error, train)).toMatchObject({
    message: "rank.jsonl:3: this is not JSON",
    exitCode: 1,
  });
});

test("a usage error points to the help, or to the nearest option", () => {
  const unknown = new CommanderError(1, "x", "error: unknown option '--mdoel'\n(Did you mean --model?)");
  expect(describeFailure(unknown, train).message).toBe("unknown option '--mdoel'; did you mean --model?");
  const missing = new CommanderError(1, "x", "error: required option '--model <model>' not specified");
  expect(describeFailure(missing, train)).toEqual({
    code: "bad_option",
    message: "required option '--model <model>' not specified; see mos train --help",
    exitCode: 2,
  });
});

test("stopping is exit code 130, wherever the signal was noticed", () => {
  expect(describeFailure(new MosError("cancelled", "stopped"), train).exitCode).toBe(130);
  expect(describeFailure(new DOMException("aborted", "AbortError"), train).exitCode).toBe(130);
});

test("what was not foreseen says so, and where to look", () => {
  const failure = describeFailure(new TypeError("x is not a function"), train);
  expect(failure).toMatchObject({ code: "unexpected", exitCode: 1 });
  expect(failure.message).toBe(
    "unexpected error: x is not a function; run again with --verbose for a stack trace",
  );
});

test("the stack is shown on request only, causes included", () => {
  const error = new MosError("storage", "the disk is full", { cause: new Error("ENOSPC") });
  const failure = describeFailure(error, train);
  expect(failureText(failure, { error, json: false, verbose: false })).toBe("mos: the disk is full\n");
  expect(failureText(failure, { error, json: false, verbose: true })).toMatch(
    /at .*failure\.test\.ts[\s\S]*caused by Error: ENOSPC/,
  );
  expect(failureText(failure, { error, json: true, verbose: false })).toBe(
    '{"error":{"code":"storage","message":"the disk is full"}}\n',
  );
});

test("a name out of a file cannot write to the terminal what it likes", () => {
  const error = new MosError("bad_adapter", "tensor \u001b[2Jq\u0007 is not part\nof such an adapter");
  const text = failureText(describeFailure(error, train), { error, json: false, verbose: false });
  expect(text).toBe("mos: tensor \\u001b[2Jq\\u0007 is not part\\nof such an adapter\n");
});
