"""Anthropic's Python client with pydantic: messages whole and streamed, tools, parsed answers, and its own errors.
usage: MOS_URL=http://127.0.0.1:8080/v1 MOS_MODEL=tiny-english anthropic_client.py
"""

import asyncio
import os
from typing import Literal

import anthropic
from pydantic import BaseModel

MODEL = os.environ["MOS_MODEL"]
# it adds /v1 itself
CLIENT = {"base_url": os.environ["MOS_URL"].removesuffix("/v1"), "api_key": "none", "max_retries": 0}
MESSAGES = [{"role": "user", "content": "When can I come in?"}]
# its newest models have no temperature, and so the client none of its own
REQUEST = {"model": MODEL, "max_tokens": 200, "messages": MESSAGES, "extra_body": {"temperature": 0}}


class Visit(BaseModel):
    """Notes a visit."""

    part: Literal["house", "garden"]
    is_early: bool


TOOL = {"name": "visit", "description": "Notes a visit", "input_schema": Visit.model_json_schema()}
FORCED = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "visit"}}


def messages_are_answered(client):
    short = {**REQUEST, "max_tokens": 3, "system": "Be brief."}
    whole = client.messages.create(**short)
    assert whole.stop_reason == "max_tokens" and whole.usage.output_tokens == 3, whole
    with client.messages.stream(**short) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text, final
    counted = client.messages.count_tokens(model=MODEL, messages=MESSAGES, system="Be brief.")
    usage = final.usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens, final


def tools_are_called(client):
    first = client.messages.create(**REQUEST, **FORCED)
    assert first.stop_reason == "tool_use", first
    call = first.content[0]
    Visit.model_validate(call.input)
    with client.messages.stream(**REQUEST, **FORCED) as stream:
        assert stream.get_final_message().content[0].input == call.input
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "noted"}
    turns = [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    last = client.messages.create(
        **{**REQUEST, "messages": MESSAGES + turns, "max_tokens": 8}, tools=[TOOL], tool_choice={"type": "none"}
    )
    assert last.content[0].type == "text", last


def answers_are_parsed(client):
    parsed = client.messages.parse(**REQUEST, output_format=Visit)
    assert isinstance(parsed.parsed_output, Visit), parsed


def errors_are_its_own(client):
    try:
        client.messages.create(**{**REQUEST, "model": "none"})
    except anthropic.NotFoundError as error:
        assert error.body["error"]["type"] == "not_found_error" and error.request_id.startswith("req_"), error
    else:
        raise AssertionError("a model that does not exist answered")


async def asynchronously():
    async with anthropic.AsyncAnthropic(**CLIENT) as client:
        one, other = await asyncio.gather(*(client.messages.create(**REQUEST, **FORCED) for _ in range(2)))
    assert one.content[0].input == other.content[0].input


def main():
    client = anthropic.Anthropic(**CLIENT)
    for check in (messages_are_answered, tools_are_called, answers_are_parsed, errors_are_its_own):
        check(client)
        print(f"{check.__name__.replace('_', ' ')}", flush=True)
    asyncio.run(asynchronously())
    print(f"anthropic {anthropic.__version__} for Python: all as it should be")


main()
