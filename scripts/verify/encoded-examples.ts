// The token ids and labels of training examples, as JSON, for programs that compute the same loss; labels of -100 do not count.
// usage: node --conditions=source --import tsx scripts/verify/encoded-examples.ts MODEL DATA.jsonl > OUT.json
import { encodeExamples, readDataset } from "mixture-of-shards-core/data";
import { loadText } from "mixture-of-shards-core/models";

const [model, data] = process.argv.slice(2);
if (model === undefined || data === undefined) throw new Error("usage: encoded-examples.ts MODEL DATA.jsonl");
const { examples } = await readDataset(data, { kind: "examples" });
const settings = { promptFormat: "template", system: undefined, maxLength: 1024 } as const;
const { encoded } = await encodeExamples(examples, { ...(await loadText(model)), ...settings });
console.log(
  JSON.stringify(
    encoded.map(({ ids, labels }) => ({
      ids: [...ids],
      labels: [...labels].map((label) => (label < 0 ? -100 : label)),
    })),
  ),
);
