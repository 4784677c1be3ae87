"""Compares chat templates with tools as they are rendered here with transformers' rendering of the same input, and where a
template takes OpenAI's messages as they are, with its rendering of these.

    node --conditions=source --import tsx scripts/verify/tool-templates.ts [FOLDER [RANDOM.json]] > OUT.json
    python scripts/verify/tool_templates.py OUT.json [--folder FOLDER] [--conversations RANDOM.json] [--write]
    python scripts/verify/tool_templates.py RANDOM.json --make 200 [--seed 0]

FOLDER holds the templates (*.jinja); by default test/fixtures/tool-templates, for which --write stores transformers' texts as
rendered.json, which a test compares with. TRL has those of many models, in its folder chat_templates. --make writes random
conversations: with calls, results, reasoning, contents that are null or in parts, and switches of reasoning. Exits with 1 where any
text differs. Needs transformers and jinja2.
"""

import argparse
import json
import pathlib
import random
import sys

from transformers.utils.chat_template_utils import render_jinja_template

FIXTURES = pathlib.Path(__file__).parents[2] / "test" / "fixtures" / "tool-templates"
TOKENS = {"bos_token": "<bos>", "eos_token": "<eos>"}


def render(template, messages, prompt, **variables):
    try:
        texts, _ = render_jinja_template(
            [messages], chat_template=template, add_generation_prompt=prompt, **TOKENS, **variables
        )
        return {"text": texts[0]}
    except Exception as error:  # templates raise what they like
        return {"error": str(error)}


def parsed(messages):
    """Messages with arguments as objects, as transformers asks for, and with reasoning by the names that templates know."""
    messages = json.loads(json.dumps(messages))
    for call in (call for message in messages for call in message.get("tool_calls", [])):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    for message in messages:
        if "reasoning_content" in message:
            message["thinking"] = message["reasoning_content"]
    return messages


def plain(messages):
    """Contents that are null or in parts as texts, as they are read here."""
    joined = lambda content: content if isinstance(content, str) else "".join(part["text"] for part in content or [])
    return [{**message, "content": joined(message["content"])} for message in messages]


def with_thoughts(template, messages):
    """Reasoning as a part of the content, where a template takes it so only."""
    if "['thinking']" not in template:
        return messages
    result = []
    for message in messages:
        thinking = message.get("reasoning_content")
        if thinking is not None:
            text = [{"type": "text", "text": message["content"]}] if message["content"] else []
            message = {**message, "content": [{"type": "thinking", "thinking": thinking}, *text]}
            del message["reasoning_content"]
        result.append(message)
    return result


WORDS = ["Ulm", "Süd", "it's", '"quoted"', "a\\b", "line\nbreak", "\ttab", "☃", "😀", "{x}", "[1, 2]", "<b>", "</tool_call>", "&amp;", "null", "7", ""]
NAMES = ["city", "days", "Unit", "x_1", "at", "b", "flag", "10", "9"]


def text(rng, most=4):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most))).strip()


def value(rng, depth=0):
    kinds = [lambda: text(rng), lambda: text(rng), lambda: rng.randint(-9, 99), lambda: rng.choice([0.5, -1.25, 3.0, 1e22])]
    kinds += [lambda: rng.choice([True, False]), lambda: None, lambda: 12345678901234567890]
    if depth < 2:
        kinds += [lambda: [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]]
        kinds += [lambda: {name: value(rng, depth + 1) for name in rng.sample(NAMES, rng.randint(0, 3))}]
    return rng.choice(kinds)()


# properties without one scalar type
UNTYPED = [
    {},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"type": ["string", "null"]},
    {"enum": ["Ulm", 7, None]},
    {"$ref": "#/$defs/place"},
    {"type": "object", "additionalProperties": {"type": "number"}},
    {"type": "object"},
    {"type": "array", "items": {"type": ["string", "number"]}},
    {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}},
]


def schema(rng):
    if rng.random() < 0.3:
        made = rng.choice(UNTYPED)
        return {**made, "description": text(rng)} if rng.random() < 0.5 else made
    kind = rng.choice(["string", "string", "number", "integer", "boolean", "array", "object"])
    made = {"type": kind}
    if rng.random() < 0.7:
        made["description"] = text(rng)
    if kind == "string" and rng.random() < 0.4:
        made["enum"] = ["Ulm", "Köln's"]
    if kind == "array":
        made["items"] = {"type": rng.choice(["string", "number"])}
    if kind == "object":
        made["properties"] = {name: {"type": "string", "description": "of an object"} for name in rng.sample(NAMES[:-2], 2)}
        made["required"] = list(made["properties"])[:1]
    return made


def tool(rng, name):
    names = [name for name in rng.sample(NAMES, rng.randint(0, 4)) if not name.isdigit()]
    properties = {one: schema(rng) for one in names}
    parameters = {"type": "object", "properties": properties}
    if names and rng.random() < 0.7:
        parameters["required"] = names[:1]
    return {"type": "function", "function": {"name": name, "description": text(rng) or "of no use", "parameters": parameters}}


def content(rng, can_be_null=False):
    given = text(rng, 6) or "Hm."
    kind = rng.random()
    if can_be_null and kind < 0.5:
        return rng.choice([None, ""])
    return [{"type": "text", "text": given}] if kind > 0.9 else given


def conversation(rng):
    tools = [tool(rng, name) for name in rng.sample(["get_weather", "look-up", "Time"], rng.randint(1, 3))]
    messages = [{"role": "system", "content": text(rng) or "Be brief."}] if rng.random() < 0.5 else []
    count = 0
    for turn in range(rng.randint(1, 3)):
        messages.append({"role": "user", "content": content(rng)})
        for _ in range(rng.choice([0, 1, 1, 2])):
            calls = []
            for _ in range(rng.choice([1, 1, 2])):
                count += 1
                given = {name: value(rng) for name in rng.sample(NAMES, rng.randint(0, 4))}
                function = {"name": rng.choice(tools)["function"]["name"], "arguments": json.dumps(given, ensure_ascii=rng.random() < 0.5)}
                calls.append({"id": f"call{count:05}", "type": "function", "function": function})
            message = {"role": "assistant", "content": content(rng, can_be_null=True), "tool_calls": calls}
            if rng.random() < 0.3:
                message["reasoning_content"] = text(rng) or "Hm."
            messages.append(message)
            for call in calls:
                result = rng.choice([text(rng) or "none", json.dumps({"t": 1.5, "s": "grey"}), '"grey"'])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        if turn == 2 or rng.random() < 0.7:
            answer = {"role": "assistant", "content": content(rng)}
            if rng.random() < 0.3:
                answer["reasoning_content"] = text(rng) or "Hm."
            messages.append(answer)
        else:
            break
    switch = rng.choice([{}, {"enable_thinking": True}, {"enable_thinking": False}, {"preserve_thinking": True}])
    return {"messages": messages, "tools": tools, "variables": switch}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=FIXTURES)
    parser.add_argument("--conversations", type=pathlib.Path, default=FIXTURES / "conversations.json")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--make", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.make is not None:
        rng = random.Random(options.seed)
        made = [conversation(rng) for _ in range(options.make)]
        options.records.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n")
        return
    conversations = json.loads(options.conversations.read_text())
    tools = json.loads((FIXTURES / "tools.json").read_text())
    stored, equal, refused, differ, otherwise = [], 0, 0, [], {}
    for record in json.loads(options.records.read_text()):
        name, index, prompt = record["name"], record["conversation"], record["addGenerationPrompt"]
        template = (options.folder / f"{name}.jinja").read_text()
        given, talk = json.loads(record["input"]), conversations[index]
        theirs = [render(template, with_thoughts(template, given.pop("messages")), prompt, **given)]
        if record["asGiven"]:
            more = {"tools": talk.get("tools", tools), **talk.get("variables", {})}
            messages = parsed(talk["messages"])
            theirs.append(render(template, with_thoughts(template, plain(messages)), prompt, **more))
            if render(template, with_thoughts(template, messages), prompt, **more) != theirs[-1]:
                otherwise[name] = otherwise.get(name, 0) + 1
        stored.append({"name": name, "conversation": index, **theirs[-1]})
        if "text" not in record and all("text" not in one for one in theirs):
            refused += 1
        elif all(one.get("text", 0) == record.get("text", 1) for one in theirs):
            equal += 1
        else:
            differ.append((name, index, record.get("text", record.get("error")), theirs))
    for name, index, ours, theirs in differ:
        print(f"--- {name}, conversation {index}: ours\n{ours}\n--- transformers'\n{theirs}")
    print(f"{equal} texts are equal, {refused} conversations are refused by both, {len(differ)} differ")
    if otherwise:
        print(f"contents that are null or in parts, rather than texts, are refused or shown otherwise by {otherwise}")
    if options.write:
        texts = json.dumps(stored, ensure_ascii=False, indent=1)
        (FIXTURES / "rendered.json").write_text(texts + "\n")
    sys.exit(1 if differ else 0)


main()
