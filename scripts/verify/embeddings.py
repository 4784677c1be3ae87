"""Embeddings by other programs in float32, the other side of packages/core/test/inference/embeddings.test.ts: of the golden models by
transformers, and of the bundled model's texts by sentence-transformers.
usage: embeddings.py OUT.json   (from this repository; needs: pip install torch transformers sentence-transformers)
"""
import json, sys
from pathlib import Path
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[2]
TEXTS = ["When can I come in?", "Once upon a time", "A", "The opening hours are nine to five, on weekdays only. " * 12]
POOLINGS = {"last": "lasttoken", "mean": "mean"}
torch.set_num_threads(2)


def rounded(vector):
    return [round(float(x), 6) for x in vector]


models = {}
for folder in sorted((ROOT / "test/goldens-families").iterdir()):
    if not (folder / "config.json").exists():
        continue
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    ids = torch.randint(3, model.config.vocab_size, (1, 20), generator=torch.Generator().manual_seed(7))
    with torch.inference_mode():
        hidden = model.model(input_ids=ids).last_hidden_state[0]
    unit = torch.nn.functional.normalize
    models[folder.name] = {
        "ids": ids[0].tolist(),
        "last": rounded(unit(hidden[-1], dim=0)),
        "mean": rounded(unit(hidden.mean(0), dim=0)),
    }

# of a model with a chat template, which a new module would use, texts are meant as they stand
forward = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
bundled = Transformer(
    str(ROOT / "assets/tiny-english"),
    model_kwargs={"dtype": torch.float32},
    modality_config=forward,
    module_output_name="token_embeddings",
)
texts = [{"text": text} for text in TEXTS]
for name, mode in POOLINGS.items():
    pooling = Pooling(bundled.get_embedding_dimension(), pooling_mode=mode)
    encoder = SentenceTransformer(modules=[bundled, pooling, Normalize()], device="cpu")
    for case, vector in zip(texts, encoder.encode(TEXTS)):
        case[name] = rounded(vector)
json.dump({"models": models, "texts": texts}, open(sys.argv[1], "w"))
