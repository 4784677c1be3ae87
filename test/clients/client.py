"""OpenAI's Python client with pydantic: parsed answers and calls of tools, whole and streamed, over both APIs.
usage: MOS_URL=http://127.0.0.1:8080/v1 MOS_MODEL=tiny-english client.py
"""

import asyncio
import os
import time
from typing import Literal

import openai
from pydantic import BaseModel

MODEL = os.environ["MOS_MODEL"]
CLIENT = {"base_url": os.environ["MOS_URL"], "api_key": "none", "max_retries": 0}
QUESTION = "When can I come in?"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0}
RESPONSE = {"model": MODEL, "input": QUESTION, "temperature": 0}


class Visit(BaseModel):
    """Notes a visit."""

    part: Literal["house", "garden"]
    is_early: bool


class Visits(BaseModel):
    first: Visit
    mood: Literal["glad", "sad"] | None


def chat_is_parsed(client):
    formed = client.chat.completions.parse(**CHAT, response_format=Visits)
    assert isinstance(formed.choices[0].message.parsed, Visits), formed
    tool = openai.pydantic_function_tool(Visit, name="visit")
    called = client.chat.completions.parse(**CHAT, tools=[tool], tool_choice="required")
    assert called.choices[0].finish_reason == "tool_calls"
    for call in called.choices[0].message.tool_calls:
        assert isinstance(call.function.parsed_arguments, Visit), call


def chat_is_streamed(client):
    tool = openai.pydantic_function_tool(Visit, name="visit")
    pieces = ""
    with client.chat.completions.stream(
        **CHAT, tools=[tool], tool_choice="required", parallel_tool_calls=False
    ) as stream:
        for event in stream:
            if event.type == "tool_calls.function.arguments.delta":
                pieces += event.arguments_delta
        call = stream.get_final_completion().choices[0].message.tool_calls[0]
    assert pieces == call.function.arguments, pieces
    assert isinstance(call.function.parsed_arguments, Visit), call
    with client.chat.completions.stream(**CHAT, response_format=Visit) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Visit)


def calls_are_answered(client):
    tool = openai.pydantic_function_tool(Visit, name="visit")
    messages = list(CHAT["messages"])
    for _ in range(2):
        answer = client.chat.completions.create(
            **{**CHAT, "messages": messages}, tools=[tool], tool_choice="required", parallel_tool_calls=False
        )
        message = answer.choices[0].message
        messages.append(message)
        messages.append({"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noted"})
    last = client.chat.completions.create(
        **{**CHAT, "messages": messages}, tools=[tool], tool_choice="none", max_tokens=8
    )
    assert last.choices[0].message.content, last


def cut_answers_are_told(client):
    try:
        client.chat.completions.parse(**CHAT, response_format=Visit, max_tokens=3)
    except openai.LengthFinishReasonError:
        return
    raise AssertionError("a cut answer was parsed")


def responses_are_parsed(client):
    formed = client.responses.parse(**RESPONSE, text_format=Visits)
    assert isinstance(formed.output_parsed, Visits), formed
    tool = openai.pydantic_function_tool(Visit, name="visit")
    called = client.responses.parse(
        **RESPONSE, tools=[tool], tool_choice="required", parallel_tool_calls=False
    )
    call = called.output[0]
    assert call.type == "function_call" and isinstance(call.parsed_arguments, Visit), call
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "noted"}
    last = client.responses.create(
        model=MODEL, input=[output], previous_response_id=called.id, temperature=0, max_output_tokens=16
    )
    assert last.previous_response_id == called.id


def responses_are_streamed(client):
    text = ""
    with client.responses.stream(**RESPONSE, text_format=Visit) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                text += event.delta
        final = stream.get_final_response()
    assert text == final.output_text
    assert isinstance(final.output_parsed, Visit), final


def jobs_learn_from_pairs(client):
    with open(f"{os.environ['MOS_DATA']}/pairs.jsonl", "rb") as pairs:
        file = client.files.create(file=pairs, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=file.id,
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": "auto"}}},
        extra_body={"mos": {"rank": 6, "equivalent_rank": 2, "steps": 3, "max_length": 64}},
    )
    assert job.hyperparameters is None and job.method.dpo.hyperparameters.n_epochs == "auto", job
    while job.finished_at is None:
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job
    events = [event.data for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
    assert sum("rewards/accuracies" in data for data in events) == 3, events
    client.chat.completions.create(**{**CHAT, "model": job.fine_tuned_model}, max_tokens=4)
    try:
        client.fine_tuning.jobs.create(
            model=MODEL,
            training_file=file.id,
            method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}},
        )
    except openai.BadRequestError as error:
        assert error.param == "method.dpo.hyperparameters.beta", error
    else:
        raise AssertionError("a beta of 3 was taken")


async def asynchronously():
    async with openai.AsyncOpenAI(**CLIENT) as client:
        chat, response = await asyncio.gather(
            client.chat.completions.parse(**CHAT, response_format=Visit),
            client.responses.parse(**RESPONSE, text_format=Visit),
        )
    assert chat.choices[0].message.parsed == response.output_parsed


def main():
    client = openai.OpenAI(**CLIENT)
    for check in (
        chat_is_parsed,
        chat_is_streamed,
        calls_are_answered,
        cut_answers_are_told,
        responses_are_parsed,
        responses_are_streamed,
        jobs_learn_from_pairs,
    ):
        check(client)
        print(f"{check.__name__.replace('_', ' ')}", flush=True)
    asyncio.run(asynchronously())
    print(f"openai {openai.__version__} for Python: all as it should be")


main()
