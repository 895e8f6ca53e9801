#!/usr/bin/env python3
"""Checks the recorded request bodies of tests/wires/snapshots against a vendor's own API description.

    scripts/check-bodies.py DESCRIPTION.json SCHEMA PREFIX      such as mistral.json ChatCompletionRequest pixtral

DESCRIPTION is an OpenAPI document that you have; SCHEMA names one of its components; PREFIX selects the snapshots.
Every body is checked as it is, and once more with a field that no vendor knows, which has to be refused: a schema
that accepts everything proves nothing. Needs the package `jsonschema`.
"""

import json
import pathlib
import sys

import jsonschema


def bodies(prefix):
    """The JSON of each snapshot whose name holds the prefix."""
    folder = pathlib.Path(__file__).parent.parent / "tests/wires/snapshots"
    for path in sorted(folder.glob(f"*__{prefix}_*.snap")):
        yield path.name, json.loads(path.read_text().split("---", 2)[2])


def main(description, schema, prefix):
    document = json.loads(pathlib.Path(description).read_text())
    entry = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    validator = jsonschema.Draft202012Validator(entry)
    failed = checked = 0
    for name, body in bodies(prefix):
        checked += 1
        errors = [error.message for error in validator.iter_errors(body)]
        canary = validator.is_valid({**body, "no_such_field": 1})
        verdict = "refused: " + "; ".join(errors) if errors else "accepts anything" if canary else "ok"
        failed += verdict != "ok"
        print(f"{name}: {verdict}")
    print(f"{checked - failed} passed, {failed} failed")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
