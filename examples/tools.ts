// JSON of a schema and a call of a function. The toy model understands neither, and still their form is right.
// usage: npx tsx examples/tools.ts
import { openEngine } from "mixture-of-shards";

await using engine = await openEngine({ model: "assets/tiny-english" });

const properties = { day: { enum: ["Saturday", "Sunday"] }, people: { type: "integer", maximum: 9 } };
const schema = { type: "object", properties, required: ["day", "people"], additionalProperties: false };

const responseFormat = { type: "json_schema", schema } as const;
const { content } = await engine.chat("Two of us come on Sunday.", { responseFormat }).message();

const tools = [{ type: "function", name: "book_table", parameters: schema }] as const;
const { toolCalls } = await engine.chat("A table for two", { tools, toolChoice: "required" }).message();

console.log(JSON.parse(content), toolCalls);
