"""Whether vLLM, and PEFT with transformers, answer with exported adapters as this engine does: greedily, in float32, by tokens.
usage: other_engines.py vllm|peft MODEL MANIFEST OURS.json    (needs: pip install torch transformers peft, or a vLLM for the CPU)

MODEL is a Hugging Face folder, MANIFEST the list of `mos export --manifest`, OURS.json of scripts/verify/adapter-answers.ts.
vllm starts `vllm serve` with all adapters, and asks them at once; then it unloads the first one, as --peft-servers has it done.
peft answers with one row and with eight rows in a batch, so that its own rounding is known.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PORT = 8123
ROWS = 8


def post(path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=1800) as response:
        return json.loads(response.read() or b"null") if "json" in response.headers.get("content-type", "") else None


def lora_modules(manifest):
    return [json.dumps({"name": a["name"], "path": a["uri"].removeprefix("file://"), "base_model_name": a["base"]}) for a in manifest]


def wait(process):
    for _ in range(300):
        assert process.poll() is None, "vLLM has ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
            return
        except OSError:
            time.sleep(2)
    raise TimeoutError


def vllm_answers(model, manifest, ours, tokens):
    rank = max(a["rank"] for a in manifest)
    allowed = next(r for r in (8, 16, 32, 64, 128, 256, 320, 512) if r >= rank)
    command = [str(Path(sys.executable).parent / "vllm"), "serve", model, "--port", str(PORT), "--dtype", "float32", "--max-model-len", "512",
               "--enforce-eager", "--enable-lora", "--max-loras", str(len(manifest)), "--max-lora-rank", str(allowed), "--lora-modules", *lora_modules(manifest)]
    environment = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "true", "VLLM_CPU_KVCACHE_SPACE": "1"}
    process = subprocess.Popen(command, env=environment, stdout=sys.stderr)
    try:
        wait(process)

        def ask(job):
            name, case = job
            body = {"model": name, "prompt": case["prompt"], "max_tokens": tokens, "temperature": 0, "return_token_ids": True}
            return name, post("/v1/completions", body)["choices"][0]["token_ids"]

        found = {name: [] for name in ours}
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            for name, ids in pool.map(ask, [(name, case) for name in ours for case in ours[name]]):
                found[name].append(ids)
        first = next(iter(ours))
        post("/v1/unload_lora_adapter", {"lora_name": first})
        try:
            ask((first, ours[first][0]))
            raise AssertionError("an unloaded adapter answers")
        except urllib.error.HTTPError as error:
            assert error.code == 404, error.code
        print(f"{first} was unloaded: 404", file=sys.stderr)
        return {"vLLM": found}
    finally:
        process.terminate()
        process.wait()


def peft_answers(model, manifest, ours, tokens):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(2)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    paths = {a["name"]: a["uri"].removeprefix("file://") for a in manifest}
    first, *others = ours
    peft = PeftModel.from_pretrained(base, paths[first], adapter_name=first)
    for name in others:
        peft.load_adapter(paths[name], adapter_name=name)
    pad = base.generation_config.pad_token_id or 0

    def answer(prompts):
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        out = peft.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=tokens, pad_token_id=pad)
        return out[:, width:].tolist()

    def all_answers(rows):
        found = {}
        for name in ours:
            peft.set_adapter(name)
            prompts = [case["prompt"] for case in ours[name]]
            found[name] = [ids for i in range(0, len(prompts), rows) for ids in answer(prompts[i : i + rows])]
        return found

    with torch.inference_mode():
        return {"PEFT, one row": all_answers(1), f"PEFT, {ROWS} rows": all_answers(ROWS)}


def main(engine, model, manifest, ours):
    manifest, ours = json.loads(Path(manifest).read_text()), json.loads(Path(ours).read_text())
    config = json.loads((Path(model) / "config.json").read_text())
    ends = config["eos_token_id"] if isinstance(config["eos_token_id"], list) else [config["eos_token_id"]]
    tokens = max(len(case["answer"]) for cases in ours.values() for case in cases)
    answers = {"vllm": vllm_answers, "peft": peft_answers}[engine](model, manifest, ours, tokens)

    def cut(ids):
        at = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        return ids[: min(at, tokens)]

    sets = {"ours": {name: [case["answer"] for case in cases] for name, cases in ours.items()}}
    sets.update({name: {key: [cut(ids) for ids in rows] for key, rows in found.items()} for name, found in answers.items()})
    names = list(sets)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            same = [sum(a == b for a, b in zip(sets[one][key], sets[other][key])) for key in ours]
            print(f"{one} and {other}: {', '.join(map(str, same))} of {len(next(iter(ours.values())))} answers are equal")


if __name__ == "__main__":
    main(*sys.argv[1:])
