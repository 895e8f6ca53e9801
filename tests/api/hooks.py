"""What Schemathesis cannot make up by itself: images. Loaded by run.sh."""

import base64
import os
import zlib
from pathlib import Path

import schemathesis

IMAGE = Path(os.environ["IMAGE"]).read_bytes()
URI = "data:image/png;base64," + base64.b64encode(IMAGE).decode()


def chosen(value, one_in):
    """Whether this is one of so many values: always the same for the same one, so that runs can be repeated."""
    return zlib.crc32(repr(value).encode()) % one_in == 0


def replaced(name, value):
    """A member with an image where one is named, in three of four places; the rest as it is."""
    if name in ("image", "url", "file_data") and isinstance(value, str) and not chosen(value, 4):
        return URI
    return with_images(value)


def with_images(value):
    if isinstance(value, list):
        return [with_images(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: replaced(name, it) for name, it in value.items()}


def asked_here(value):
    """The same, asked of this machine. The scripted vendor can talk, and follows no schema."""
    if isinstance(value, list):
        return [asked_here(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_scripted = str(value.get("model")).startswith("scripted")
    own = {"model": "local"} if is_scripted else {}
    return {name: asked_here(it) for name, it in value.items()} | own


def with_sense(body, path):
    """What would be refused by what it means, and so never come any further."""
    body = with_images(body)
    if not isinstance(body, dict):
        return body
    if "model" in body and chosen(body["model"], 2):
        body["model"] = "scripted" if path.endswith("completions") else "local"
    if isinstance(body.get("region"), list) and len(body["region"]) == 4 and not chosen(body["region"], 4):
        body["region"] = [0, 0, 0.5, 1]
    if path.endswith("completions") and isinstance(body.get("response_format"), dict):
        # A model that follows any schema is not at hand.
        named = body["response_format"].get("json_schema")
        if isinstance(named, dict) and isinstance(named.get("schema"), dict):
            named["schema"] = {"type": "object"}
    return body


@schemathesis.hook
def map_case(context, case):
    """Most calls are about an image that can be read, and many name a model that is there."""
    if case.media_type == "application/json":
        case.body = with_sense(case.body, case.path)
    elif case.media_type == "application/octet-stream" and not chosen(case.body, 4):
        case.body = IMAGE
    elif case.media_type == "multipart/form-data" and isinstance(case.body, dict) and "image" in case.body:
        files = case.body["image"]
        if isinstance(files, list):
            case.body["image"] = [file if chosen(file, 4) else IMAGE for file in files]
        elif not chosen(files, 4):
            case.body["image"] = IMAGE
    if not case.path.endswith("completions"):
        case.body = asked_here(case.body)
    return case
