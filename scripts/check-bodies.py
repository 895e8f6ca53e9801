#!/usr/bin/env python3
"""Checks the request bodies of tests/wires/exchanges against the vendors' own API descriptions.

    scripts/check-bodies.py FOLDER [KIND...]

FOLDER holds OpenAPI documents that you have, called VENDOR*.json after the table below. Every body is checked as it is,
and a wrong one beside it has to be refused: a schema that accepts everything proves nothing. Where a vendor's schema
leaves its objects open, the wrong body has a member of a wrong type instead of an unknown one. Needs `jsonschema`.
"""

import json
import pathlib
import sys

import jsonschema

# Kind of provider: vendor's document, and the component that describes a request.
REQUESTS = {
    "pixtral": ("mistral", "ChatCompletionRequest"),
    "mistral-ocr": ("mistral", "OCRRequest"),
    "openai": ("openai", "CreateChatCompletionRequest"),
    "azure-openai": ("openai", "CreateChatCompletionRequest"),
    "anthropic": ("anthropic", "CreateMessageParams"),
    "bedrock-anthropic": ("anthropic", "CreateMessageParams"),
    "gemini": ("gemini", "GenerateContentRequest"),
    "ollama": ("ollama", "ChatRequest"),
    "openrouter": ("openrouter", "ChatRequest"),
    "groq": ("groq", "CreateChatCompletionRequest"),
    "together": ("together", "ChatCompletionRequest"),
    "mistralrs": ("mistralrs", "ChatCompletionRequest"),
}


def validator(folder, vendor, component):
    """A validator of one component of a vendor's document."""
    path = next(iter(sorted(folder.glob(f"{vendor}*.json"))), None)
    if path is None:
        return None
    document = json.loads(path.read_text())
    entry = {"$ref": f"#/components/schemas/{component}", "components": document["components"]}
    return jsonschema.Draft202012Validator(entry)


def refuses_wrong(check, body):
    """How the schema shows that it checks anything at all."""
    if not check.is_valid({**body, "no_such_field": 1}):
        return "unknown member refused"
    if any(not check.is_valid({**body, name: 7}) for name in ("messages", "contents", "document") if name in body):
        return "wrong type refused"
    return None


def main(folder, kinds):
    exchanges = pathlib.Path(__file__).parent.parent / "tests/wires/exchanges"
    passed = failed = 0
    for kind, (vendor, component) in REQUESTS.items():
        if kinds and kind not in kinds:
            continue
        check = validator(folder, vendor, component)
        if check is None:
            print(f"{kind}: no description of {vendor}")
            continue
        for path in sorted((exchanges / kind).glob("*.json")):
            exchange = json.loads(path.read_text())
            if "request" not in exchange:
                continue
            body = exchange["request"]["body"]
            errors = [error.message[:200] for error in check.iter_errors(body)]
            canary = refuses_wrong(check, body)
            good = not errors and canary
            passed, failed = passed + bool(good), failed + (not good)
            print(f"{kind}/{path.stem}: {'ok, ' + canary if good else '; '.join(errors) or 'accepts anything'}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
