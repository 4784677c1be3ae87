import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { Sample } from "#inference";
import type { Group } from "./grader.ts";
import { planTeacher, type TeacherAccess } from "./teacher.ts";

interface Asked {
  readonly prompt: readonly number[];
}
/** Token 65 is "A". */
const text = (id: number): string => String.fromCharCode(id);
const logprobOf = (id: number): number => -(id - 64) / 10;

/** What a server answers that reads `ids`, and makes one more token. */
const scores = (ids: readonly number[]) => ({
  tokens: [...ids, 90].map(text),
  token_logprobs: [null, ...[...ids, 90].slice(1).map(logprobOf)] as (number | null)[],
});
type Scores = ReturnType<typeof scores>;

/** A teacher whose answers are changed, and what it was asked. */
async function open(change: (scores: Scores) => unknown = (found) => found, access: TeacherAccess = {}) {
  const seen: { readonly path: string | undefined; readonly key: string | undefined; body: Asked }[] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const asked: Asked = JSON.parse(body);
    seen.push({ path: request.url, key: request.headers.authorization, body: asked });
    const logprobs = change(scores(asked.prompt));
    const answer = typeof logprobs === "number" ? {} : { choices: [{ logprobs }] };
    response.writeHead(typeof logprobs === "number" ? logprobs : 200).end(JSON.stringify(answer));
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  const teacher = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const plan = (advantageLimit?: number) =>
    planTeacher({ teacher, teacherModel: "big", advantageLimit }, access).open({
      tokenizer: { idToBytes: (id) => new TextEncoder().encode(text(id)) },
      signal: undefined,
    });
  return { plan, seen };
}

const prompt = { line: 1, ids: [65, 66], item: {} };
const sample: Sample = {
  tokens: [67, 68, 69],
  logprobs: Float32Array.of(-0.5, -0.4, -2.5),
  text: "CDE",
  hasEnded: true,
};

test("an answer's tokens are worth by how much the teacher finds them likelier", async () => {
  const { plan, seen } = await open(undefined, { key: "secret" });
  const grader = plan();
  const grade = await grader.grade(prompt, sample);
  const body = { model: "big", prompt: [65, 66, 67, 68, 69], echo: true, logprobs: 1, max_tokens: 1 };
  expect(seen).toEqual([
    { path: "/v1/completions", key: "Bearer secret", body: { ...body, temperature: 0 } },
  ]);
  const groups: readonly Group<unknown>[] = [{ prompt, answers: [{ ...sample, grade }] }];
  const near = (...numbers: number[]) => numbers.map((x) => expect.closeTo(x, 6));
  const [[advantages] = []] = grader.advantages(groups);
  expect([...(advantages as Float32Array)]).toEqual(near(0.2, 0, 2));
  const [[limited] = []] = plan(1.5).advantages(groups);
  expect([...(limited as Float32Array)]).toEqual(near(0.2, 0, 1.5));
  // the divergence is not limited
  expect(grader.metrics(groups)).toEqual({ teacher_kl: { sum: expect.closeTo(-2.2, 6), count: 3 } });
  expect(grader.loss?.(groups)).toEqual(grader.metrics(groups)["teacher_kl"]);
});

test("tokens that a server writes in part are no other tokens", async () => {
  const { plan } = await open(({ tokens, ...found }) => ({
    ...found,
    tokens: ["", "▁B", "bytes:\\xe2", "token_id:68", "\uFFFD", ...tokens.slice(5)],
  }));
  expect(await plan().grade(prompt, sample)).toHaveLength(3);
});

test.each<readonly [string, (scores: Scores) => unknown, RegExp]>([
  [
    "another tokenizer",
    ({ tokens, ...found }) => ({ ...found, tokens: tokens.map((token) => (token === "D" ? "Dog" : token)) }),
    /the teacher reads token 68 as "Dog", and the student as "D"; both need the same tokenizer/,
  ],
  [
    "no echo",
    ({ tokens, token_logprobs }) => ({ tokens: tokens.slice(-1), token_logprobs: token_logprobs.slice(-1) }),
    /gave 1 log-probabilities for 5 tokens; use a server that takes token ids with echo and logprobs/,
  ],
  [
    "a gap",
    ({ tokens, token_logprobs }) => ({ tokens, token_logprobs: token_logprobs.with(3, null) }),
    /gave no log-probability of token 68 at position 3/,
  ],
  ["none", () => null, /answered 200 without log-probabilities of a prompt/],
  ["a wrong key", () => 401, /the teacher answered 401; name the environment variable/],
])("an answer with %s is an error that says what to do", async (_, change, message) => {
  const { plan, seen } = await open(change);
  await expect(plan().grade(prompt, sample)).rejects.toThrow(message);
  expect(seen).toHaveLength(1);
});

test("a teacher needs an address and a name", () => {
  const plan = (teacher?: string, teacherModel?: string) => () =>
    planTeacher({ teacher, teacherModel, advantageLimit: undefined });
  for (const wrong of [plan(), plan("http://a"), plan(undefined, "big")])
    expect(wrong).toThrow(/give teacher, the URL of an OpenAI-compatible API, and teacherModel/);
  expect(plan("localhost", "big")).toThrow(/no address of a teacher/);
});
