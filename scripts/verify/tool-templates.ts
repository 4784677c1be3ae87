// What chat templates are given for conversations, those of test/fixtures/tool-templates or random ones, and what they render here, as JSON
// for scripts/verify/tool_templates.py, which compares that with transformers.
// usage: node --conditions=source --import tsx scripts/verify/tool-templates.ts [FOLDER with *.jinja [CONVERSATIONS.json]] > OUT.json
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "mixture-of-shards-core/common";
import { templateInput } from "../../packages/core/src/text/tool-messages.ts";
import {
  tools as commonTools,
  readTemplates,
  type StoredConversation,
  TOOL_TEMPLATES,
  toMessage,
  toTools,
} from "../../packages/core/test/tool-conversations.ts";

const [folder, path = join(TOOL_TEMPLATES, "conversations.json")] = process.argv.slice(2);
const stored = JSON.parse(readFileSync(path, "utf8")) as readonly StoredConversation[];
const conversations = stored.map(({ messages, tools, variables = {} }) => ({
  messages: messages.map(toMessage),
  tools: tools === undefined ? commonTools : toTools(tools),
  variables,
}));

const records = [...readTemplates(folder, new Date())].flatMap(([name, template]) =>
  conversations.map(({ messages, tools, variables }, conversation) => {
    const layout = template.answerLayout();
    const { input, restore } = templateInput(layout, messages, tools);
    const addGenerationPrompt = messages.at(-1)?.role !== "assistant";
    const isNative = layout.tools === "tools" && layout.calls === "tool_calls" && layout.results === "tool";
    const asGiven = isNative && layout.system === "role";
    const common = {
      name,
      conversation,
      addGenerationPrompt,
      asGiven,
      input: restore(JSON.stringify({ ...input, ...variables })),
    };
    try {
      return { ...common, text: template.render(messages, { tools, addGenerationPrompt, variables }) };
    } catch (error) {
      return { ...common, error: errorText(error) };
    }
  }),
);
console.log(JSON.stringify(records));
