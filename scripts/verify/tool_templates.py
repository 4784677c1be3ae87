"""Compares chat templates with tools as they are rendered here with transformers' rendering of the same input, and where a
template takes OpenAI's messages as they are, with its rendering of these.

    node --conditions=source --import tsx scripts/verify/tool-templates.ts [FOLDER] > OUT.json
    python scripts/verify/tool_templates.py OUT.json [--folder FOLDER] [--write]

FOLDER holds the templates (*.jinja); by default test/fixtures/tool-templates, for which --write stores transformers' texts as
rendered.json, which a test compares with. Exits with 1 where any text differs. Needs transformers and jinja2.
"""

import argparse
import json
import pathlib
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
    """Messages with arguments as objects, as transformers asks for."""
    messages = json.loads(json.dumps(messages))
    for call in (call for message in messages for call in message.get("tool_calls", [])):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path, default=FIXTURES)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    conversations = json.loads((FIXTURES / "conversations.json").read_text())
    tools = json.loads((FIXTURES / "tools.json").read_text())
    stored, equal, refused, differ = [], 0, 0, []
    for record in json.loads(options.records.read_text()):
        name, index, prompt = record["name"], record["conversation"], record["addGenerationPrompt"]
        template = (options.folder / f"{name}.jinja").read_text()
        given = json.loads(record["input"])
        theirs = [render(template, given.pop("messages"), prompt, **given)]
        if record["asGiven"]:
            theirs.append(render(template, parsed(conversations[index]["messages"]), prompt, tools=tools))
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
    if options.write:
        texts = json.dumps(stored, ensure_ascii=False, indent=1)
        (FIXTURES / "rendered.json").write_text(texts + "\n")
    sys.exit(1 if differ else 0)


main()
