#!/usr/bin/env python3
"""Packs a built program into a bundle that MCP clients install, and describes bundles to the MCP registry.

    scripts/bundle.py pack PROGRAM [FOLDER]      FOLDER/visiongate-VERSION-OS-ARCH.mcpb, by default in target/bundle
    scripts/bundle.py registry OWNER [FOLDER]    FOLDER/server.json, for every bundle of this version in FOLDER

The version is that of Cargo.toml, here and nowhere else. The same program gives the same bundle to the byte. OWNER is the
account at GitHub whose releases hold the bundles, and who publishes.
"""

import hashlib
import json
import pathlib
import platform
import re
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What the bundle's manifest calls this system, and what its file name does.
SYSTEMS = {"Linux": ("linux", "linux"), "Darwin": ("darwin", "macos"), "Windows": ("win32", "windows")}
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def version():
    """The version of the workspace."""
    text = (ROOT / "Cargo.toml").read_text()
    return re.search(r'^\[workspace\.package\]$.*?^version = "([^"]+)"$', text, re.DOTALL | re.MULTILINE).group(1)


def manifest(system):
    """The manifest of a bundle for one system."""
    whole = json.loads((ROOT / "packaging/mcpb/manifest.json").read_text())
    whole["version"] = version()
    whole["compatibility"]["platforms"] = [system]
    overrides = whole["server"]["mcp_config"].pop("platform_overrides")
    if system == "win32":
        whole["server"]["mcp_config"] |= overrides[system]
        whole["server"]["entry_point"] += ".exe"
    return whole


def add(bundle, name, data, mode):
    """Adds a file without what differs from one time and machine to the next."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix: its permissions say what can be run
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    bundle.writestr(entry, data)


def pack(program, folder):
    """Packs a program of this machine."""
    system, shown = SYSTEMS[platform.system()]
    machine = platform.machine().lower()
    if not program.is_file():
        sys.exit(f"error: there is no program {program}: `make bundle` builds it")
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
    if said != f"visiongate {version()}":
        sys.exit(f"error: {program} says that it is {said!r}, and Cargo.toml that it is {version()}: build it anew")
    whole = manifest(system)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"visiongate-{version()}-{shown}-{ARCHITECTURES.get(machine, machine)}.mcpb"
    with zipfile.ZipFile(path, "w") as bundle:
        add(bundle, "manifest.json", json.dumps(whole, indent=2, ensure_ascii=False) + "\n", 0o644)
        add(bundle, whole["server"]["entry_point"], program.read_bytes(), 0o755)
        for name in ["LICENSE-MIT", "LICENSE-APACHE"]:
            add(bundle, name, (ROOT / name).read_bytes(), 0o644)
    print(path)


def registry(owner, folder):
    """Describes the bundles of this version."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", owner):
        sys.exit(f"error: {owner!r} is no name of an account")
    bundles = sorted(folder.glob(f"visiongate-{version()}-*.mcpb"))
    if not bundles:
        sys.exit(f"error: no bundle of version {version()} in {folder}: `make bundle` packs one")
    text = (ROOT / "packaging/server.json").read_text().replace("OWNER", owner).replace("0.0.0", version())
    whole = json.loads(text)
    template, image = whole["packages"]
    described = []
    for bundle in bundles:
        digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
        identifier = template["identifier"].replace("BUNDLE.mcpb", bundle.name)
        described.append(template | {"identifier": identifier, "fileSha256": digest})
    whole["packages"] = [*described, image]
    path = folder / "server.json"
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    print(path)


def main(arguments):
    if len(arguments) not in (2, 3) or arguments[0] not in ("pack", "registry"):
        sys.exit(__doc__)
    folder = pathlib.Path(arguments[2]) if len(arguments) == 3 else ROOT / "target/bundle"
    if arguments[0] == "pack":
        pack(pathlib.Path(arguments[1]).resolve(), folder)
    else:
        registry(arguments[1], folder)


if __name__ == "__main__":
    main(sys.argv[1:])
