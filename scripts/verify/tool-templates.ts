// What chat templates are given for the conversations of test/fixtures/tool-templates, and what they render here, as JSON for
// scripts/verify/tool_templates.py, which compares that with transformers.
// usage: node --conditions=source --import tsx scripts/verify/tool-templates.ts [FOLDER with *.jinja] > OUT.json
import { errorText } from "mixture-of-shards-core/common";
import { templateInput } from "../../packages/core/src/text/tool-messages.ts";
import { conversations, readTemplates, tools } from "../../packages/core/test/tool-conversations.ts";

const records = [...readTemplates(process.argv[2], new Date())].flatMap(([name, template]) =>
  conversations.map((messages, conversation) => {
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
      input: restore(JSON.stringify(input)),
    };
    try {
      return { ...common, text: template.render(messages, { tools, addGenerationPrompt }) };
    } catch (error) {
      return { ...common, error: errorText(error) };
    }
  }),
);
console.log(JSON.stringify(records));
