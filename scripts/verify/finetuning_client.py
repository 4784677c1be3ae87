"""OpenAI's Python client fine-tunes, waits, reads events and checkpoints, chats and deletes, against mos serve --state.
usage: finetuning_client.py
needs: pip install openai, and npm run build
"""

import tempfile
import time

import openai
from mos_server import ROOT, serving

DATA = ROOT / "assets/quickstart/train.jsonl"
SETTINGS = {"mos": {"rank": 6, "steps": 4, "save_every": 2, "max_length": 128}}


def ended(client, job):
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.2)
        job = client.fine_tuning.jobs.retrieve(job.id)
    return job


def check(client):
    with open(DATA, "rb") as data:
        file = client.files.create(file=data, purpose="fine-tune")
    file = client.files.wait_for_processing(file.id, poll_interval=0.1)
    assert file.status == "processed", file
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


with (
    tempfile.TemporaryDirectory() as state,
    serving(ROOT / "assets/tiny-english", "--model-name", "tiny", "--state", state, "--quiet") as (address, _),
):
    check(openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0))
print("OpenAI's Python client fine-tunes against mos serve --state")
