"""OpenAI's Python client against mos serve: everything that docs/reference/http-api.md says of the API, asserted.
usage: openai_client.py [--model assets/tiny-english] [--steps 20]        trains two adapters and starts a server
       openai_client.py --url http://127.0.0.1:8080 [--key KEY]           a server that runs, with the adapters it has
needs: pip install openai, and npm run build unless --url is given
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import openai
from mos_server import ROOT, base_of, mos, serving

HELLO = [{"role": "user", "content": "When can I come in?"}]
DATA = ROOT / "assets/quickstart/train.jsonl"


@dataclass
class Served:
    """A server and its keys; `limited` may use the first adapter only, `admin` may read the metrics."""

    address: str
    base: str
    key: str
    limited: str | None = None
    admin: str | None = None

    def client(self, key=None):
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key or self.key, max_retries=0)

    def adapters(self):
        return [model.id for model in self.client().models.list() if model.id != self.base]

    def running(self):
        """How many requests run and wait, by the metrics."""
        request = urllib.request.Request(
            f"{self.address}/metrics", headers={"authorization": f"Bearer {self.admin}"}
        )
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
        names = ("mos_requests_running ", "mos_requests_waiting ")
        return sum(float(line.split()[-1]) for line in lines if line.startswith(names))


def refused(error, call, **expected):
    """The call must be refused with this class of error, and its fields."""
    try:
        call()
    except error as refusal:
        assert type(refusal) is error, f"{type(refusal).__name__} instead of {error.__name__}"
        for name, value in expected.items():
            found = getattr(refusal, name)
            assert found == value, f"{name} is {found!r}, not {value!r}"
        return refusal
    raise AssertionError(f"the request was not refused with {error.__name__}")


def models(served):
    client = served.client()
    base, *adapters = client.models.list().data
    assert (base.id, base.object, base.parent, base.owned_by) == (served.base, "model", None, "mos")
    assert adapters, "the server has no adapters; give it some"
    assert all(adapter.parent == served.base for adapter in adapters)
    assert client.models.retrieve(adapters[0].id).parent == served.base
    refused(openai.NotFoundError, lambda: client.models.retrieve("nobody"), code="model_not_found")


def chat(served):
    client = served.client()
    answers = {}
    for model in [served.base, *served.adapters()[:2]]:
        answer = client.chat.completions.create(
            model=model, messages=HELLO, temperature=0, max_completion_tokens=24
        )
        (choice,) = answer.choices
        assert answer.object == "chat.completion" and answer.model == model
        assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
        usage = answer.usage
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert 0 < usage.completion_tokens <= 24
        assert (answer.system_fingerprint is None) == (model == served.base)
        answers[model] = choice.message.content
    assert len(set(answers.values())) > 1, f"all models answer alike: {answers}"


def chat_streams(served):
    client = served.client()
    for model in [served.base, served.adapters()[0]]:
        request = {"model": model, "messages": HELLO, "temperature": 0, "max_tokens": 24}
        whole = client.chat.completions.create(**request)
        text, finish, usage = "", None, None
        stream = client.chat.completions.create(**request, stream=True, stream_options={"include_usage": True})
        for number, chunk in enumerate(stream):
            assert chunk.object == "chat.completion.chunk"
            if not chunk.choices:
                usage = chunk.usage
                continue
            (choice,) = chunk.choices
            assert number > 0 or choice.delta.role == "assistant"
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        assert (text, finish) == (whole.choices[0].message.content, whole.choices[0].finish_reason)
        counts = {"prompt_tokens", "completion_tokens", "total_tokens"}
        assert usage.model_dump(include=counts) == whole.usage.model_dump(include=counts)
        # the whole answer left the prompt in the prefix cache, except its last token
        assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens - 1


def chat_logprobs(served):
    answer = served.client().chat.completions.create(
        model=served.base, messages=HELLO, temperature=0, max_tokens=6, logprobs=True, top_logprobs=3
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    for entry in content:
        assert len(entry.top_logprobs) == 3 and entry.logprob <= 0
        assert entry.logprob == entry.top_logprobs[0].logprob, "greedy takes the likeliest"
        values = [other.logprob for other in entry.top_logprobs]
        assert values == sorted(values, reverse=True)


def completions(served):
    client = served.client()
    request = {"model": served.base, "temperature": 0, "max_tokens": 8}
    (one,) = client.completions.create(prompt="Once", **request).choices
    (first, second) = client.completions.create(prompt=["Once", "The"], **request).choices
    assert (first.index, second.index) == (0, 1)
    assert one.text == first.text and one.finish_reason in ("stop", "length")
    stream = client.completions.create(prompt="Once", **request, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == one.text


def token_ids(served):
    client = served.client()
    ids = [10, 20, 30, 40]
    request = {"model": served.base, "temperature": 0, "max_tokens": 4}
    answer = client.completions.create(prompt=ids, **request)
    assert answer.usage.prompt_tokens == 4
    both = client.completions.create(prompt=[ids, ids[:2]], **request)
    assert both.choices[0].text == answer.choices[0].text and both.usage.prompt_tokens == 6


def embeddings(served):
    client = served.client()
    texts = ["When can I come in?", "What are your opening hours?", "Once upon a time"]
    vectors = {}
    for model in [served.base, *served.adapters()[:2]]:
        answer = client.embeddings.create(model=model, input=texts)  # in base64, which the client decodes
        assert answer.model == model and [item.index for item in answer.data] == [0, 1, 2]
        assert answer.usage.total_tokens == answer.usage.prompt_tokens > 0
        for item in answer.data:
            assert abs(sum(x * x for x in item.embedding) - 1) < 1e-5
        vectors[model] = answer.data[0].embedding
    assert len({tuple(vector) for vector in vectors.values()}) > 1, "all models embed alike"
    (one,) = client.embeddings.create(model=served.base, input=texts[0], encoding_format="float").data
    assert max(abs(a - b) for a, b in zip(one.embedding, vectors[served.base])) < 1e-3
    (short,) = client.embeddings.create(model=served.base, input=texts[0], dimensions=8).data
    assert len(short.embedding) == 8
    refused(
        openai.BadRequestError,
        lambda: client.embeddings.create(model=served.base, input=["x", ""]),
        param="input.1",
    )


def scoring(served):
    client = served.client()
    request = {"model": served.base, "prompt": "The opposite of up is down.", "temperature": 0, "echo": True}
    for count in (0, 1):
        (choice,) = client.completions.create(**request, max_tokens=count, logprobs=2).choices
        lists = choice.logprobs
        assert "".join(lists.tokens) == choice.text
        assert choice.text.startswith(request["prompt"])
        assert lists.token_logprobs[0] is None and lists.top_logprobs[0] is None
        assert all(value <= 0 for value in lists.token_logprobs[1:])
        for token, value, top in list(zip(lists.tokens, lists.token_logprobs, lists.top_logprobs))[1:]:
            assert top[token] == value and value <= max(top.values())
        offsets = lists.text_offset
        assert [choice.text[at:].startswith(token) for at, token in zip(offsets, lists.tokens)].count(False) == 0
    assert client.completions.create(**request, max_tokens=0).choices[0].text == request["prompt"]


def several_answers(served):
    client = served.client()
    request = {"model": served.base, "prompt": "Once", "max_tokens": 12, "temperature": 1.5}
    first = client.completions.create(**request, n=4, seed=11)
    texts = [choice.text for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3] and len(set(texts)) > 1
    again = client.completions.create(**request, n=4, seed=11)
    assert texts == [choice.text for choice in again.choices], "the same seed gives the same answers"
    other = client.completions.create(**request, n=4, seed=100)
    assert texts != [choice.text for choice in other.choices]
    streamed = ["", "", "", ""]
    for chunk in client.completions.create(**request, n=4, seed=11, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
    assert streamed == texts


def stops(served):
    client = served.client()
    request = {"model": served.base, "prompt": "Once", "temperature": 0, "max_tokens": 24}
    text = client.completions.create(**request).choices[0].text
    stop = text[len(text) // 2 :][:3]
    (choice,) = client.completions.create(**request, stop=["no such text", stop]).choices
    assert choice.text == text[: text.index(stop)] and choice.finish_reason == "stop"
    stream = client.completions.create(**request, stop=stop, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == choice.text
    (short,) = client.completions.create(**{**request, "max_tokens": 2}).choices
    assert short.finish_reason == "length"


def errors(served):
    client = served.client()
    create = client.chat.completions.create
    for stream in (False, True):
        request = {"messages": HELLO, "stream": stream}
        refused(
            openai.NotFoundError,
            lambda: create(model="nobody", **request),
            code="model_not_found",
            param="model",
        )
        refused(
            openai.BadRequestError,
            lambda: create(model=served.base, **request, web_search_options={}),
            code="unsupported_parameter",
            param="web_search_options",
        )
        refused(
            openai.BadRequestError,
            lambda: create(model=served.base, **request, extra_body={"strange": 1}),
            code="unknown_parameter",
            param="strange",
        )
        refused(
            openai.BadRequestError,
            lambda: create(model=served.base, **request, temperature="hot"),
            code="invalid_type",
            param="temperature",
        )
        refused(
            openai.BadRequestError,
            lambda: create(model=served.base, **request, max_tokens=10**8),
            code="context_length_exceeded",
        )
    refused(openai.NotFoundError, lambda: client.get("/nothing", cast_to=object), code="unknown_url")


def keys(served):
    if served.limited is None:
        return
    refused(openai.AuthenticationError, lambda: served.client("wrong").models.list(), code="invalid_api_key")
    first, second = served.adapters()[:2]
    limited = served.client(served.limited)
    assert [model.id for model in limited.models.list()] == [served.base, first]
    request = {"messages": HELLO, "max_tokens": 2}
    assert limited.chat.completions.create(model=first, **request).choices
    refused(
        openai.NotFoundError,
        lambda: limited.chat.completions.create(model=second, **request),
        code="model_not_found",
    )
    refused(
        openai.PermissionDeniedError,
        lambda: limited.delete(f"/adapters/{first}", cast_to=object),
        code="admin_key_required",
    )


def leaving(served):
    client = served.client()
    request = {"model": served.base, "prompt": "Once", "max_tokens": 200, "temperature": 1}
    with client.completions.create(**request, n=8, stream=True) as stream:
        next(iter(stream))
    deadline = time.time() + 20
    while served.admin is not None and served.running() > 0:
        assert time.time() < deadline, "the request of a client that left still runs"
        time.sleep(0.1)
    try:
        client.with_options(timeout=0.05).completions.create(**request, n=64)
    except openai.APITimeoutError:
        pass
    else:
        raise AssertionError("64 answers came within 50 ms")
    assert client.completions.create(**{**request, "max_tokens": 2}).choices


def side_by_side(served):
    """32 requests at a time on mixed models, streamed and whole, answer as each does alone."""
    models = [served.base, *served.adapters()]
    cases = [
        {
            "model": models[i % len(models)],
            "prompt": f"{1 + i % 5} things",
            "max_tokens": 8 + i % 7,
            "temperature": 0,
        }
        for i in range(32)
    ]

    async def ask(client, case, stream):
        if not stream:
            return (await client.completions.create(**case)).choices[0].text
        chunks = await client.completions.create(**case, stream=True)
        return "".join([chunk.choices[0].text async for chunk in chunks])

    async def all_at_once():
        async with openai.AsyncOpenAI(
            base_url=f"{served.address}/v1", api_key=served.key, max_retries=0
        ) as client:
            return await asyncio.gather(*(ask(client, case, i % 2 == 0) for i, case in enumerate(cases)))

    client = served.client()
    alone = [client.completions.create(**case).choices[0].text for case in cases]
    together = asyncio.run(all_at_once())
    differing = [case for case, one, other in zip(cases, alone, together) if one != other]
    assert not differing, f"{len(differing)} answers differ in company, such as {differing[0]}"


CHECKS = [
    models,
    chat,
    chat_streams,
    chat_logprobs,
    completions,
    token_ids,
    embeddings,
    scoring,
    several_answers,
    stops,
    errors,
    keys,
    leaving,
    side_by_side,
]


@contextlib.contextmanager
def started(options):
    """A server with keys, and two adapters that were trained a little."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for seed, name in enumerate(("acme", "zeta")):
            training = ["--model", options.model, "--data", DATA, "--out", folder / "adapters" / name]
            settings = ["--rank", 6, "--steps", options.steps, "--batch-size", 4, "--max-length", 128]
            mos("train", *training, *settings, "--learning-rate", 1e-2, "--seed", seed, "--quiet")
        file = folder / "keys.jsonl"

        def key(name, *more):
            line = mos("keys", "create", "--name", name, *more, "--append", file, "--json")
            return json.loads(line)["key"]

        keys = {
            "key": key("acme"),
            "limited": key("limited", "--adapters", "acme"),
            "admin": key("operator", "--admin"),
        }
        with serving(options.model, "--adapters", folder / "adapters", "--api-keys", file) as (address, base):
            yield Served(address, base, **keys)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=ROOT / "assets/tiny-english")
    parser.add_argument("--steps", type=int, default=20, help="of training for each of the adapters")
    parser.add_argument("--url")
    parser.add_argument("--key", default="none")
    options = parser.parse_args()
    running = started(options)
    if options.url:
        running = contextlib.nullcontext(Served(options.url, base_of(options.url, options.key), options.key))
    failures = 0
    with running as served:
        for check in CHECKS:
            begun = time.time()
            try:
                check(served)
                print(f"ok    {check.__name__} ({time.time() - begun:.1f} s)")
            except (AssertionError, openai.OpenAIError) as error:
                failures += 1
                line = error.__traceback__.tb_next.tb_lineno
                print(f"FAIL  {check.__name__}, line {line}: {type(error).__name__} {error}")
    print(f"{len(CHECKS) - failures} of {len(CHECKS)} hold, with openai {openai.__version__}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
