// Fine-tunes and chats through OpenAI's client, with OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none.
import { createReadStream } from "node:fs";
import { setTimeout } from "node:timers/promises";
import OpenAI from "openai";

const client = new OpenAI();
const file = createReadStream("assets/quickstart/train.jsonl");
const training = await client.files.create({ file, purpose: "fine-tune" });
const hyperparameters = { learning_rate_multiplier: 5 };
let job = await client.fineTuning.jobs.create({ model: "tiny", training_file: training.id, hyperparameters });
while (!job.finished_at) {
  await setTimeout(500);
  job = await client.fineTuning.jobs.retrieve(job.id);
}
const question = { role: "user", content: "Who is the keeper of the lighthouse?" } as const;
const model = job.fine_tuned_model ?? "";
const answer = await client.chat.completions.create({ model, messages: [question], temperature: 0 });
console.log(`${model}: ${answer.choices[0]?.message.content}`);
