"""OpenAI's Python client fine-tunes, waits, reads events and checkpoints, chats, deletes, grades and trains by rewards, against
mos serve --state.
usage: finetuning_client.py
needs: pip install openai, and npm run build
"""

import json
import tempfile
import time

import openai
from mos_server import ROOT, serving

QUICKSTART = ROOT / "assets/quickstart"
SETTINGS = {"mos": {"rank": 6, "steps": 4, "save_every": 2, "max_length": 128}}


def ended(client, job):
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job


def uploaded(client, name):
    with open(QUICKSTART / name, "rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    file = client.files.wait_for_processing(file.id, poll_interval=0.1)
    assert file.status == "processed", file
    return file


def check(client):
    file = uploaded(client, "train.jsonl")
    job = client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, suffix="py", seed=3, metadata={"a": "b"}, extra_body=SETTINGS
    )
    assert job.status == "queued", job
    job = ended(client, job)
    assert job.status == "succeeded" and job.trained_tokens > 0, job
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert events[-1].message.startswith("Created"), events
    assert len([event for event in events if event.message.startswith("Step ")]) == 4, events
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert [checkpoint.step_number for checkpoint in checkpoints] == [4, 2], checkpoints
    for model in (job.fine_tuned_model, checkpoints[1].fine_tuned_model_checkpoint):
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
        )
        assert answer.usage.completion_tokens > 0
    content = client.files.content(job.result_files[0]).text
    assert content.startswith("step,train_loss,"), content
    assert client.models.delete(job.fine_tuned_model).deleted
    assert job.id in [one.id for one in client.fine_tuning.jobs.list(limit=1)]

    long = {"mos": {**SETTINGS["mos"], "steps": 100_000}}
    job = client.fine_tuning.jobs.create(model="tiny", training_file=file.id, extra_body=long)
    client.fine_tuning.jobs.pause(job.id)
    while client.fine_tuning.jobs.retrieve(job.id).status != "paused":
        time.sleep(0.2)
    assert client.fine_tuning.jobs.resume(job.id).status in ("queued", "running")
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"
    try:
        client.fine_tuning.jobs.retrieve("ftjob-none")
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("a job that does not exist was found")
    assert client.files.delete(file.id).deleted


def check_graders(client):
    graders = client.fine_tuning.alpha.graders
    city = {
        "type": "string_check",
        "name": "city",
        "input": "{{sample.output_json.city}}",
        "reference": "{{item.answer}}",
        "operation": "eq",
    }
    assert graders.validate(grader=city).grader.to_dict() == city
    source = "def grade(sample, item):\n    return len(sample['output_text']) / 100"
    both = {
        "type": "multi",
        "name": "both",
        "graders": {"city": city, "length": {"type": "python", "name": "length", "source": source}},
        "calculate_output": "city - length",
    }
    sample = '{"city": "Bern"}'
    run = graders.run(grader=both, model_sample=sample, item={"answer": "Bern"})
    assert abs(run.reward - (1 - len(sample) / 100)) < 1e-9, run
    assert run.sub_rewards == {"city": 1, "length": len(sample) / 100}, run
    assert not any(run.metadata.errors.to_dict().values()), run
    judge = {
        "type": "score_model",
        "name": "judge",
        "model": "tiny",
        "input": [{"role": "user", "content": "Score: {{sample.output_text}}"}],
        "range": [0, 2],
        "sampling_params": {"max_completions_tokens": 40, "temperature": 0, "seed": 1},
    }
    run = graders.run(grader=judge, model_sample="Hi")
    assert 0 <= run.reward <= 2 and run.metadata.sampled_model_name == "tiny", run
    assert run.metadata.token_usage > 0 and not run.metadata.errors.api_model_grader_server_error, run
    for wrong in ({**city, "operation": "is"}, {**both, "calculate_output": "town"}):
        try:
            graders.validate(grader=wrong)
        except openai.BadRequestError as error:
            assert error.param.startswith("grader"), error
        else:
            raise AssertionError("a wrong grader was accepted")


def check_rewards(client):
    right = json.loads((QUICKSTART / "grader.json").read_text())
    grader = {
        "type": "multi",
        "name": "both",
        "graders": {"right": right, "close": {**right, "type": "text_similarity", "evaluation_metric": "rouge_l"}},
        "calculate_output": "(right + close) / 2",
    }
    del grader["graders"]["close"]["operation"]
    hyperparameters = {"batch_size": 2, "compute_multiplier": 0.5, "eval_interval": 1, "eval_samples": 1}
    request = {
        "model": "tiny",
        "training_file": uploaded(client, "prompts.jsonl").id,
        "validation_file": uploaded(client, "prompts-validation.jsonl").id,
    }

    def method(grader):
        return {
            "type": "reinforcement",
            "reinforcement": {"grader": grader, "hyperparameters": hyperparameters},
        }

    settings = {"mos": {"rank": 6, "steps": 4, "max_completion_length": 24}}
    job = client.fine_tuning.jobs.create(**request, method=method(grader), extra_body=settings)
    job = ended(client, job)
    assert job.status == "succeeded" and job.hyperparameters is None, job
    assert job.method.reinforcement.hyperparameters.compute_multiplier == 0.5, job
    events = list(client.fine_tuning.jobs.list_events(job.id))
    evaluated = [event for event in events if (event.data or {}).get("full_valid_mean_reward") is not None]
    assert sorted(event.data["step"] for event in evaluated) == [0, 1, 2, 3, 4], events
    newest = evaluated[0]
    assert newest.message.startswith("Step 4/4 , train mean reward=0."), newest
    assert ", full validation mean reward=0." in newest.message, newest
    assert newest.message.endswith(", full validation mean parse error=0.00"), newest
    types = {grader["name"]: grader["type"] for grader in newest.data["scores"]["graders"]}
    assert types == {"both": "multi", "right": "string_check", "close": "text_similarity"}, newest
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
    rewards = {event.data["step"]: event.data["full_valid_mean_reward"] for event in evaluated}
    best = sorted(range(1, 5), key=lambda step: (rewards[step], step))[1:]
    assert sorted(checkpoint.step_number for checkpoint in checkpoints) == sorted(best), (checkpoints, rewards)
    answer = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
    )
    assert answer.usage.completion_tokens > 0
    judge = {"type": "score_model", "name": "judge", "model": "other", "input": [{"role": "user", "content": "?"}]}
    try:
        client.fine_tuning.jobs.create(**request, method=method(judge))
    except openai.NotFoundError as error:
        assert error.param == "method.reinforcement.grader" and "other" in error.message, error
    else:
        raise AssertionError("a grader that asks a model which is not there was accepted")


with (
    tempfile.TemporaryDirectory() as state,
    serving(ROOT / "assets/tiny-english", "--model-name", "tiny", "--state", state, "--quiet") as (address, _),
):
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    check(client)
    check_graders(client)
    check_rewards(client)
print("OpenAI's Python client fine-tunes, grades and trains by rewards against mos serve --state")
