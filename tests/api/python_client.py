"""OpenAI's Python client, whichever version is installed. Called by run.sh."""

import base64
import json
import os
import sys
import urllib.request
from pathlib import Path

import openai
import pydantic

URL, CHECK = os.environ["URL"] + "/v1", os.environ["CHECK"]
IMAGE = "data:image/png;base64," + base64.b64encode(Path(os.environ["IMAGE"]).read_bytes()).decode()
BROKEN = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\nand no more").decode()

sent = []


def client(key="ALICE", retries=0):
    counted = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    key = os.environ.get(key, key)
    # Strict: an answer that is not of the client's own types is an error.
    return openai.OpenAI(
        base_url=URL, api_key=key, max_retries=retries, http_client=counted, _strict_response_validation=True
    )


def ask(text, image=IMAGE):
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": image, "detail": "low"}}]
    return [{"role": "user", "content": parts}]


def complete(text="What is this?", image=IMAGE, key="ALICE", retries=0, **more):
    more = {"model": "scripted"} | more
    return client(key, retries).chat.completions.create(messages=ask(text, image), **more)


def upstream_calls():
    with urllib.request.urlopen(os.environ["UPSTREAM"] + "/calls") as answer:
        return json.load(answer)["calls"]


# ---- the checks ----


def check_chat():
    answer = complete(temperature=0.2, max_tokens=50, user="somebody")
    choice = answer.choices[0]
    assert (choice.message.content, choice.message.role, choice.finish_reason) == ("Two words.", "assistant", "stop")
    assert (answer.usage.total_tokens, answer.model) == (15, "scripted/m"), answer
    assert answer.visiongate["route"]["attempts"][0]["outcome"] == "ok"


def check_chat_without_image():
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    answer = client().chat.completions.create(model="default", messages=said)
    assert answer.choices[0].message.content == "Two words.", answer


def check_stream():
    chunks = list(complete(f"Stream {CHECK}", stream=True, stream_options={"include_usage": True}))
    *spoken, last, usage = chunks
    assert "".join(chunk.choices[0].delta.content for chunk in spoken) == "Two words.", chunks
    assert len(spoken) >= 2 and spoken[0].choices[0].delta.role == "assistant", chunks
    assert last.choices[0].finish_reason == "stop" and usage.choices == [] and usage.usage.total_tokens == 15, chunks
    assert len({chunk.id for chunk in chunks}) == 1, chunks


def check_stream_helper():
    completions = client().chat.completions
    if not hasattr(completions, "stream"):
        return
    with completions.stream(model="scripted", messages=ask("Help")) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.delta" in kinds and final.choices[0].message.content == "Two words.", (kinds, final)


def check_parse():
    class Bill(pydantic.BaseModel):
        total: float

    completions = client().chat.completions
    for place in [completions, client().beta.chat.completions]:
        if hasattr(place, "parse"):
            answer = place.parse(model="scripted", messages=ask("Which total?"), response_format=Bill)
            assert answer.choices[0].message.parsed == Bill(total=25.41), answer
    schema = {"type": "json_schema", "json_schema": {"name": "bill", "schema": Bill.model_json_schema()}}
    content = complete("Which total?", response_format=schema).choices[0].message.content
    assert json.loads(content) == {"total": 25.41}, content


def check_dropped_and_warnings():
    raw = client().chat.completions.with_raw_response
    answer = raw.create(model="scripted", messages=ask("Thrice"), n=3, logit_bias={"50": 1})
    assert answer.headers["x-visiongate-dropped"] == "logit_bias, n", answer.headers
    assert answer.parse().choices[0].message.content == "Two words."


def check_models():
    names = [model.id for model in client().models.list()]
    assert {"scripted", "scripted/m", "local"} <= set(names), names
    for name in ["scripted/m", "scripted"]:
        found = client().models.retrieve(name)
        assert (found.id, found.object, found.owned_by) == (name, "model", "scripted"), found
    theirs = [model.id for model in client("BOB").models.list()]
    assert "local" in theirs and not [name for name in theirs if name.startswith("scripted")], theirs


def fails(kind, status, code, call, retryable=False):
    """Whether a call fails as it should, and is sent as often as it should be by a client that would repeat it."""
    sent.clear()
    try:
        call()
    except openai.APIStatusError as error:
        assert type(error) is kind and (error.status_code, error.code) == (status, code), repr(error)
        assert error.body["message"] and error.response.headers["x-should-retry"] == str(retryable).lower(), error.body
        assert len(sent) == (2 if retryable else 1), f"{code} was sent {len(sent)} times"
        return
    raise AssertionError(f"{code} did not fail")


def trouble(status):
    """A vendor's trouble, with a model that nobody else needs: one whose key was refused is left alone for a while."""
    return complete(f"fail {status}", model=f"scripted/{CHECK}-{status}", retries=1)


def check_errors():
    fails(openai.AuthenticationError, 401, "unauthenticated", lambda: complete(key="vg_wrong", retries=1))
    fails(openai.PermissionDeniedError, 403, "forbidden", lambda: complete(key="BOB", retries=1))
    path = os.environ["IMAGE"]
    fails(openai.PermissionDeniedError, 403, "unsafe_path", lambda: complete(image=path, retries=1))
    fails(openai.NotFoundError, 404, "model_not_found", lambda: complete(model="nobody", retries=1))
    fails(openai.NotFoundError, 404, "model_not_found", lambda: client(retries=1).models.retrieve("nobody/at-all"))
    fails(openai.BadRequestError, 400, "invalid_input", lambda: complete(temperature=9, retries=1))
    fails(openai.UnprocessableEntityError, 422, "image_corrupt", lambda: complete(image=BROKEN, retries=1))
    fails(openai.InternalServerError, 502, "upstream_auth", lambda: trouble(401))
    fails(openai.RateLimitError, 429, "rate_limited", lambda: trouble(429), retryable=True)


def check_nothing_is_asked_in_vain():
    before = upstream_calls()
    for image, more in [(BROKEN, {}), (IMAGE, {"temperature": 9}), (IMAGE, {"model": "nobody"})]:
        try:
            complete(image=image, retries=2, **more)
        except openai.APIStatusError:
            pass
    assert upstream_calls() == before


def check_limit_of_a_key():
    for _ in range(3):
        try:
            complete("How often?", key="CAROL")
        except openai.RateLimitError as error:
            assert int(error.response.headers["retry-after"]) >= 1, error.response.headers
            return
    raise AssertionError("nobody was stopped")


def main():
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            name = f"{CHECK} {name.removeprefix('check_')}"
            try:
                check()
                print(f"ok {name}", flush=True)
            except Exception as failure:
                print(f"FAIL {name}: {' '.join(repr(failure).split())[:400]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
