// `mos data`: what it prints, writes and refuses.
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { expectRefusal, jsonLines, mos } from "./bad-input/run-mos.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-data-"));
});
afterEach(() => rm(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const FAQ = 'question,answer\n"Who, then?",She.\nWhy?,So.\nwhy,so\nWhen?,\n';

test("inspect prints formats, tokens, problems and duplicates, and its exit code says whether there are problems", async () => {
  await writeFile(at("faq.csv"), FAQ);
  const found = await mos([
    "data",
    "inspect",
    at("faq.csv"),
    "--model",
    "assets/tiny-english",
    "--max-length",
    "13",
  ]);
  expect(found).toMatchObject({ code: 1, stderr: "" });
  expect(found.stdout).toMatch(/faq\.csv +3 examples, question\n/);
  expect(found.stdout).toMatch(
    /tokens +\d+; per example \d+ to \d+, median \d+, 95% at most \d+; 3 longer than 13\n/,
  );
  expect(found.stdout).toMatch(/problems +1, 1 of them empty answers\n/);
  expect(found.stdout).toMatch(/duplicates +0 exact, 1 but for case/);
  expect(found.stdout).toMatch(/Problems:\n {2}\S+faq\.csv:5: answer is empty/);
  expect(found.stdout).toMatch(/Duplicates:\n {2}\S+faq\.csv:4 is nearly \S+faq\.csv:3\n$/);
  await cp("assets/tiny-english", at("short"), { recursive: true });
  const config = await readFile(at("short/config.json"), "utf8");
  await writeFile(
    at("short/config.json"),
    config.replace(/("max_position_embeddings": )512/, (_, name) => `${name}13`),
  );
  const auto = await mos(["data", "inspect", at("faq.csv"), "--model", at("short")]);
  expect(auto.stdout).toMatch(/; 3 longer than 13\n/);
  const json = await mos(["data", "inspect", at("faq.csv"), "--json"]);
  expect(JSON.parse(json.stdout)).toMatchObject({ examples: 3, problemCount: 1, emptyAnswers: 1 });
  const sound = await mos(["data", "inspect", "assets/quickstart/train.jsonl"]);
  expect(sound).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/224 examples, messages\n[\s\S]*problems +none/),
  });
});

test("inspect lists as many problems as it is told, and counts the rest", async () => {
  await writeFile(at("bad.jsonl"), '{"question": "a", "answer": ""}\n'.repeat(5));
  const { stdout } = await mos(["data", "inspect", at("bad.jsonl"), "--limit", "2"]);
  expect(stdout).toMatch(/bad\.jsonl:2: .*\n {2}… and 3 more \(--limit\)\n/);
});

test("convert writes conversations that train reads, and never over a file unasked", async () => {
  await writeFile(at("faq.csv"), FAQ.replace("When?,\n", ""));
  const args = ["data", "convert", at("faq.csv"), "--out", at("train.jsonl")];
  const { code, stdout } = await mos(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/written +\S+train\.jsonl: 3 examples, messages\n\nNext:\n.*train --model/);
  expect((await readFile(at("train.jsonl"), "utf8")).split("\n")[0]).toBe(
    '{"messages":[{"role":"user","content":"Who, then?"},{"role":"assistant","content":"She."}]}',
  );
  await expectRefusal(args, {
    code: 2,
    message: /train\.jsonl already exists; add --overwrite/,
    untouched: folder,
  });
  expect((await mos([...args, "--overwrite", "--json"])).stdout).toBe(
    `${JSON.stringify({ out: at("train.jsonl"), format: "messages", examples: 3 })}\n`,
  );
});

test("passages writes text and Markdown of folders, and says what it leaves out", async () => {
  await mkdir(at("notes/deep"), { recursive: true });
  await writeFile(at("notes/a.md"), "# Guide\r\n\r\nFirst.\r\n\r\n## Use\r\n\r\nSecond.\r\n");
  await writeFile(at("notes/deep/b.txt"), "\uFEFFOne two three. Four five six.");
  await writeFile(at("notes/scan.pdf"), "%PDF");
  const out = at("passages.jsonl");
  const found = await mos(["data", "passages", at("notes"), "--max-words", "4", "--out", out]);
  expect(found).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/passages\.jsonl: 4 passages of 2 documents/),
  });
  expect(found.stderr).toBe("left out: 1 file (.pdf); text and Markdown are read\n");
  const passages = jsonLines(await readFile(out, "utf8"));
  expect(passages).toEqual([
    { source: at("notes/a.md"), line: 1, headings: ["Guide"], text: "# Guide\n\nFirst." },
    { source: at("notes/a.md"), line: 5, headings: ["Guide", "Use"], text: "## Use\n\nSecond." },
    { source: at("notes/deep/b.txt"), line: 1, headings: [], text: "One two three." },
    { source: at("notes/deep/b.txt"), line: 1, headings: [], text: "Four five six." },
  ]);
  const tokens = ["--max-tokens", "5", "--model", "assets/tiny-english", "--overwrite", "--json"];
  const counted = await mos(["data", "passages", `${at("notes")}/*.md`, "--out", out, ...tokens]);
  expect(JSON.parse(counted.stdout)).toMatchObject({ out, documents: 1, leftOut: [] });
});

test("passages refuses what is not text", async () => {
  await mkdir(at("images"));
  await writeFile(at("images/a.png"), "");
  await writeFile(at("latin.txt"), Buffer.of(0x63, 0x61, 0x66, 0xe9));
  await writeFile(at("utf16.md"), Buffer.from("# Hello", "utf16le"));
  await writeFile(at("mark.md"), Buffer.from("\uFEFF# Hello", "utf16le"));
  await writeFile(at("empty.md"), "\n");
  const refusal = (name: string, message: RegExp) =>
    expectRefusal(["data", "passages", at(name), "--out", at("p.jsonl")], {
      code: 1,
      message,
      untouched: folder,
    });
  await refusal("images", /the folder holds no documents; text and Markdown are read/);
  await refusal("none", /none: no such file or folder; check the path/);
  await refusal("latin.txt", /latin\.txt: the text is not valid UTF-8/);
  await refusal("utf16.md", /utf16\.md: this is not text in UTF-8, as it holds NUL bytes/);
  await refusal("mark.md", /mark\.md: the text is UTF-16; save it as UTF-8/);
  await refusal("empty.md", /empty\.md: there is no text to make passages of/);
});

/** A teacher that answers each request with a pair of its passage's own words. */
async function serveTeacher(status: (count: number) => number = () => 200) {
  let count = 0;
  const keys = new Set<string | undefined>();
  const server = createServer(async (request, response) => {
    keys.add(request.headers.authorization);
    let body = "";
    for await (const part of request) body += part;
    response.statusCode = status(++count);
    const passage = /"""\n([\s\S]*)\n"""/.exec(JSON.parse(body).messages[0].content)?.[1] ?? "";
    const content = JSON.stringify([{ question: `What is said here? ${passage}`, answer: passage }]);
    response.end(JSON.stringify({ choices: [{ message: { content } }] }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return { url: `http://127.0.0.1:${port}`, keys, count: () => count };
}

test("generate shows the cost, asks a teacher, and writes conversations", async () => {
  await writeFile(at("a.md"), "# A\n\nFirst.\n\n# B\n\nSecond.\n");
  const { url, keys, count } = await serveTeacher();
  vi.stubEnv("OPENAI_API_KEY", "for OpenAI alone");
  onTestFinished(() => void vi.unstubAllEnvs());
  const out = at("train.jsonl");
  const args = ["data", "generate", at("a.md"), "--teacher", url, "--teacher-model", "t", "--out", out];
  const prices = ["--price-in", "1000", "--price-out", "1000"];
  const dry = await mos([...args, ...prices, "--dry-run"]);
  expect(dry.stdout).toMatch(
    /passages +2\nrequests +2 to t\ntokens +about \d+ of prompts, at most 2,048 of answers\ncost +at most about 2\.\d\d\n/,
  );
  expect(dry.stdout).toMatch(/Passage:\n"""\n# A/);
  expect([count(), await readdir(folder)]).toEqual([0, ["a.md"]]);
  const done = await mos(args);
  expect(done).toMatchObject({ code: 0, stderr: "" });
  expect(done.stdout).toMatch(/written +\S+train\.jsonl: 2 examples, messages\ndropped +0 not supported/);
  expect(jsonLines(await readFile(out, "utf8"))[1]).toMatchObject({ source: `${at("a.md")}:5` });
  expect(keys).toEqual(new Set([undefined]));
  const json = await mos([...args, "--overwrite", "--json", "--key-variable", "OPENAI_API_KEY"]);
  expect(jsonLines(json.stdout).map(({ type }) => type)).toEqual(["plan", "passage", "passage", "finish"]);
  expect(keys).toContain("Bearer for OpenAI alone");
  expect(json.stdout + json.stderr).not.toContain("OpenAI alone");
});

test("generate says why it tries again, outside of a terminal as well", async () => {
  await writeFile(at("a.md"), "First.");
  const { url } = await serveTeacher((count) => (count % 2 === 1 ? 500 : 200));
  const args = [
    "data",
    "generate",
    at("a.md"),
    "--teacher",
    url,
    "--teacher-model",
    "t",
    "--out",
    at("t.jsonl"),
  ];
  expect(await mos(args)).toMatchObject({
    code: 0,
    stderr: expect.stringMatching(/^http\S+: the teacher answered 500; trying again in 1\.\d* s\n$/),
  });
  expect(await mos([...args, "--overwrite", "--quiet"])).toMatchObject({ code: 0, stderr: "" });
});

test("generate goes on after a failure, from passages that were written before", async () => {
  await writeFile(at("a.md"), "# A\n\nFirst.\n\n# B\n\nSecond.\n");
  await mos(["data", "passages", at("a.md"), "--out", at("p.jsonl")]);
  const { url, count } = await serveTeacher((n) => (n === 2 ? 400 : 200));
  const args = [
    "data",
    "generate",
    at("p.jsonl"),
    "--teacher",
    url,
    "--teacher-model",
    "t",
    "--concurrency",
    "1",
  ];
  const failed = await mos([...args, "--out", at("train.jsonl")]);
  expect(failed).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^mos: .*the teacher answered 400/),
  });
  const done = await mos([...args, "--out", at("train.jsonl")]);
  expect(done.stdout).toMatch(/passages +2, 1 of them asked about before\nrequests +1 to t/);
  expect([done.code, count()]).toEqual([0, 3]);
});

test("generate asks a model of our own, and keeps its answers where none is of use", async () => {
  await writeFile(at("a.txt"), "The lighthouse is open.");
  const args = ["data", "generate", at("a.txt"), "--model", "assets/tiny-english", "--answer-tokens", "16"];
  const { code, stderr } = await mos([...args, "--out", at("train.jsonl"), "--quiet"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /no question with an answer is left: of 1 answers of the teacher 1 could not be read/,
  );
  expect((await readdir(folder)).toSorted()).toEqual(["a.txt", "train.jsonl.progress"]);
});

test.each([
  [["inspect", "none.jsonl"], 1, /none\.jsonl: no such file/],
  [["inspect", "train.jsonl", "--out", "b.jsonl"], 2, /--out cannot be used with mos data inspect/],
  [["convert", "train.jsonl"], 2, /--out FILE is required/],
  [
    ["convert", "train.jsonl", "--out", "b.jsonl", "--limit", "3"],
    2,
    /--limit cannot be used with mos data convert/,
  ],
  [["look", "train.jsonl"], 2, /look.*[Ee]xpected one of inspect, convert/],
  [["passages", "README.md"], 2, /--out FILE is required/],
  [["passages", "none.md", "--out", "/tmp/mos-none.jsonl"], 1, /none\.md: no such file/],
  [["passages", "a.pdf", "--out", "/tmp/mos-none.jsonl"], 1, /a PDF; extract its text/],
  [["passages", "README.md", "--out", "p.txt"], 2, /p\.txt: .*ends in \.jsonl/],
  [
    ["passages", "README.md", "--max-tokens", "9", "--out", "/tmp/mos-none.jsonl"],
    2,
    /--max-tokens requires --model/,
  ],
  [["generate", "README.md", "--out", "/tmp/mos-none.jsonl"], 2, /a teacher is required: --teacher URL/],
  [
    ["generate", "README.md", "--teacher", "http://a/v1", "--out", "/tmp/mos-none.jsonl"],
    2,
    /--teacher-model NAME is required/,
  ],
  [
    ["generate", "README.md", "--model", "m", "--key-variable", "K", "--out", "/tmp/mos-none.jsonl"],
    2,
    /require --teacher URL/,
  ],
  [
    [
      "generate",
      "README.md",
      "--teacher",
      "http://a:key@b",
      "--teacher-model",
      "t",
      "--out",
      "/tmp/mos-none.jsonl",
    ],
    2,
    /--teacher: .*without a key in it/,
  ],
  [
    [
      ...["generate", "README.md", "--teacher", "http://a/v1", "--teacher-model", "t"],
      ...["--key-variable", "MOS_TEST_NO_KEY", "--out", "/tmp/mos-none.jsonl"],
    ],
    2,
    /MOS_TEST_NO_KEY is not set/,
  ],
  [["inspect"], 2, /mos data inspect needs the names of files/],
  [["train.jsonl"], 2, /'train\.jsonl' is not a valid action; expected one of inspect, convert/],
] as const)("%j is refused", async (args, code, message) => {
  await expectRefusal(["data", ...args], { code, message, untouched: folder });
});
