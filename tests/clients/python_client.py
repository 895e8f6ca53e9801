"""The Python SDK, 1.x or 2.x, whichever is installed. Called by run.sh."""

import base64
import json
import os
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import anyio
import mcp
from mcp.types import PromptReference

TRANSPORT, ERA, CHECK = os.environ["TRANSPORT"], os.environ["ERA"], os.environ["CHECK"]
RECEIPT = os.environ["RECEIPT"]
ALIVE = Path(os.environ["FOLDER"], "slow.alive")
IS_V2 = version("mcp").startswith("2.")

IMAGE = RECEIPT
if TRANSPORT == "http":
    IMAGE = "data:image/png;base64," + base64.b64encode(Path(RECEIPT).read_bytes()).decode()
OCR = {"image": IMAGE, "task": "ocr"}
SLOW = OCR | {"model": "slow", "cache": "bypass"}


# ---- the two SDKs, made alike: (session, protocol version) ----


def stdio():
    return mcp.StdioServerParameters(command=os.environ["BINARY"], args=["--config", os.environ["CONFIG"], "mcp"])


@asynccontextmanager
async def connect_v2():
    mode = {"legacy": "legacy", "modern": "2026-07-28", "auto": "auto"}[ERA]
    async with mcp.Client(os.environ["URL"] if TRANSPORT == "http" else stdio(), mode=mode) as client:
        yield client, client.protocol_version


@asynccontextmanager
async def connect_v1():
    from mcp.client.stdio import stdio_client
    from mcp.client.streamable_http import streamable_http_client

    transport = streamable_http_client(os.environ["URL"]) if TRANSPORT == "http" else stdio_client(stdio())
    async with transport as (reader, writer, *_), mcp.ClientSession(reader, writer) as session:
        yield session, (await session.initialize()).protocolVersion


def as_sent(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


# ---- the checks ----


async def check_protocol(_, protocol):
    assert protocol == ("2025-11-25" if ERA == "legacy" else "2026-07-28"), protocol


async def check_tools_list(session, _):
    tools = as_sent(await session.list_tools())["tools"]
    names = {"analyze_batch", "analyze_image", "compare_models", "list_models", "vision_chat"}
    assert {tool["name"] for tool in tools} == names, tools
    size = len(json.dumps({"tools": tools}, separators=(",", ":")).encode())
    assert size < 6144, f"{size} bytes"


async def check_list_models(session, _):
    result = as_sent(await session.call_tool("list_models", {}))
    assert not result["isError"], result
    assert "local" in [provider["name"] for provider in result["structuredContent"]["providers"]], result


async def check_analyze_image(session, _):
    expect_total(as_sent(await session.call_tool("analyze_image", OCR)))


async def check_compare_models(session, _):
    result = as_sent(await session.call_tool("compare_models", OCR | {"models": ["local", "chat"]}))
    assert not result["isError"], result
    answers = result["structuredContent"]["answers"]
    assert all("25.41" in answer["detected_text"] for answer in answers), answers


async def check_analyze_batch(session, _):
    items = {"items": [{"image": IMAGE}, {"image": "/nonexistent.png"}], "task": "ocr", "model": "local"}
    result = as_sent(await session.call_tool("analyze_batch", items))["structuredContent"]
    assert (result["succeeded"], result["failed"]) == (1, 1), result


async def check_vision_chat(session, _):
    content = [{"type": "text", "text": "The total?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    chat = {"messages": [{"role": "user", "content": content}], "model": "chat", "temperature": 0}
    result = as_sent(await session.call_tool("vision_chat", chat))["structuredContent"]
    assert "25.41" in result["text"] and result["finish_reason"] == "stop", result


async def check_prompts(session, _):
    prompts = as_sent(await session.list_prompts())["prompts"]
    assert "invoice" in [prompt["name"] for prompt in prompts], prompts
    values = {"image": "/a.png", "other_image": "/b.png", "models": "local,chat"}
    for prompt in prompts:
        text = as_sent(await session.get_prompt(prompt["name"], values))["messages"][0]["content"]["text"]
        assert text.startswith(("Call analyze_image", "Call compare_models")), text


async def check_resources(session, _):
    uris = [resource["uri"] for resource in as_sent(await session.list_resources())["resources"]]
    assert uris == ["vision://models", "vision://health"], uris
    for uri in [*uris, "vision://models/local"]:
        assert json.loads(as_sent(await session.read_resource(uri))["contents"][0]["text"])
    templates = as_sent(await session.list_resource_templates())["resourceTemplates"]
    assert len(templates) == 2, templates


async def check_completions(session, _):
    ref = PromptReference(type="ref/prompt", name="describe")
    completion = as_sent(await session.complete(ref, {"name": "model", "value": "cha"}))["completion"]
    assert completion["values"] == ["chat", "chat/m"], completion


async def check_path_refused(session, _):
    result = as_sent(await session.call_tool("analyze_image", {"image": RECEIPT, "task": "ocr"}))
    assert result["isError"] and result["structuredContent"]["error"]["code"] == "UNSAFE_PATH", result


async def check_failing_call(session, _):
    result = as_sent(await session.call_tool("analyze_image", {"image": "/nonexistent.png"}))
    assert result["isError"] and result["structuredContent"]["error"]["code"], result


async def check_progress(session, _):
    signs = []

    async def note(progress, total, message):
        signs.append(progress)

    expect_total(as_sent(await session.call_tool("analyze_image", SLOW, progress_callback=note)))
    assert len(signs) >= 2 and all(one < other for one, other in pairwise(signs)), signs


async def check_cancel(session, _):
    ALIVE.unlink(missing_ok=True)
    async with anyio.create_task_group() as group:
        group.start_soon(session.call_tool, "analyze_image", SLOW)
        while not ALIVE.exists():
            await anyio.sleep(0.05)
        group.cancel_scope.cancel()
    await anyio.sleep(1)
    ALIVE.unlink()
    await anyio.sleep(0.6)
    assert not ALIVE.exists(), "the work went on"
    assert not as_sent(await session.call_tool("list_models", {}))["isError"]


def expect_total(result):
    assert not result["isError"], result
    assert "25.41" in result["content"][0]["text"], result["content"]
    assert "25.41" in result["structuredContent"]["detected_text"], result["structuredContent"]


async def main():
    checks = [check_protocol, check_tools_list, check_list_models, check_analyze_image, check_failing_call]
    checks += [check_compare_models, check_analyze_batch, check_vision_chat]
    checks += [check_prompts, check_resources, check_completions]
    if TRANSPORT == "http":
        checks.append(check_path_refused)
    checks.append(check_progress)
    # SDK 1.x never tells the server. Over HTTP, the old era has no session here that a cancellation could refer to.
    if IS_V2 and (TRANSPORT, ERA) != ("http", "legacy"):
        checks.append(check_cancel)
    async with connect_v2() if IS_V2 else connect_v1() as (session, protocol):
        for check in checks:
            name = check.__name__.removeprefix("check_")
            try:
                with anyio.fail_after(20):
                    await check(session, protocol)
                print(f"ok {CHECK} {name}", flush=True)
            except Exception as failure:
                reason = " ".join(repr(failure).split())
                print(f"FAIL {CHECK} {name}: {reason[:300]}", flush=True)


if __name__ == "__main__":
    sys.exit(anyio.run(main))
