"""Looks at what `make release` has built, and adds what is made from it.

    python3 -m machine.release FOLDER

In the folder are wheels and the source distribution. auditwheel has to find that each wheel runs
where its name says. Then come the source with all crates, the list of crates, and checksums. Last,
a wheel is built anew from the source with all crates, without a network: it has to be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from machine.beginning import begin_process
from machine.bill import find_bill, settle_wheel
from machine.catalogue import cache_named
from machine.prepare import RUST_TARGETS

# Where cargo unpacks the crates of its registry, below its own folder.
REGISTRY = "registry/src/index.crates.io-1949cf8c6b5b557f"


class ReleaseError(Exception):
    """Something that must not be published."""


def say(step: str) -> None:
    """Print a line on what is done next."""
    print(f"==> {step}", flush=True)


def audit(wheel: Path) -> None:
    """Have auditwheel look at a wheel; `ReleaseError` if it needs more than its name says."""
    show = [cache_named("release").bin / "python", "-m", "auditwheel", "show", "--json"]
    found = json.loads(
        subprocess.run([*show, wheel], capture_output=True, text=True, check=True).stdout
    )
    say(f"{wheel.name}: auditwheel calls it {found['overall_tag']}")
    if not wheel.stem.endswith(found["overall_tag"]):
        raise ReleaseError(f"{wheel.name} needs more than its name says: {found}")


def copy_bill(wheel: Path, folder: Path) -> None:
    """Write the list of crates of a wheel as a file of its own."""
    with zipfile.ZipFile(wheel) as archive:
        bill = find_bill(archive.namelist())
        version = wheel.name.split("-")[1]
        place = folder / f"sudospawner_rs-{version}.cyclonedx.json"
        place.write_bytes(archive.read(bill))


def add_crates(source: Path, tree: Path) -> Path:
    """Unpack a source distribution and add the crates; return the folder of the source.

    cargo finds them by a file of settings in that folder. `tree`: an empty folder.
    """
    subprocess.run(["tar", "--extract", "--file", source, "--directory", tree], check=True)
    [folder] = tree.iterdir()
    vendor = ["cargo", "vendor", "--locked", "--versioned-dirs", "vendor"]
    (folder / ".cargo").mkdir()
    (folder / ".cargo/config.toml").write_text(read_output(vendor, folder))
    needed = {crate for target in RUST_TARGETS for crate in list_crates(folder, target)}
    for crate in (folder / "vendor").iterdir():
        if crate.name not in needed:
            hollow_out(crate)
    return folder


def list_crates(folder: Path, target: str) -> set[str]:
    """Return the crates that a build for a target of Rust's needs, as vendor's folders."""
    tree = ["cargo", "tree", "--locked", "--offline", "--workspace", f"--target={target}"]
    found = read_output([*tree, "--prefix=none", "--format={p}"], folder)
    words = [line.split() for line in found.splitlines() if line]
    return {f"{name}-{version.removeprefix('v')}" for name, version, *_ in words}


def hollow_out(crate: Path) -> None:
    """Leave of a crate for other systems only what cargo reads of all: 300 MB are Windows'."""
    checksum = json.loads((crate / ".cargo-checksum.json").read_text())
    manifest = (crate / "Cargo.toml").read_bytes()
    shutil.rmtree(crate)
    (crate / "src").mkdir(parents=True)
    (crate / "src/lib.rs").touch()
    (crate / "Cargo.toml").write_bytes(manifest)
    (crate / ".cargo-checksum.json").write_text(json.dumps(checksum | {"files": {}}))


def read_output(command: list[str], folder: Path) -> str:
    """Return what a command prints in a folder; `CalledProcessError` if it fails."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def pack(folder: Path, archive: Path) -> None:
    """Write a folder as an archive that is the same whoever packs it, and whenever."""
    same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX,u+rw"]
    same += ["--mtime=@315532800", "--format=ustar"]
    tar = ["tar", *same, "--create", "--xz", "--file", archive, "--directory", folder.parent]
    subprocess.run([*tar, folder.name], env=os.environ | {"XZ_OPT": "-6"}, check=True)


def build_without_network(folder: Path, out: Path) -> Path:
    """Build this computer's wheel from a source with all crates; return it."""
    remapped = f"--remap-path-prefix={folder}/vendor=/cargo/{REGISTRY}"
    variables = {
        "CARGO_HOME": str(out / "cargo"),
        "CARGO_NET_OFFLINE": "true",
        "RUSTFLAGS": remapped,
        "CARGO_ZIGBUILD_ZIG_PATH": str(cache_named("release").bin / "python-zig"),
    }
    build = [cache_named("tests").bin / "maturin", "build", "--release", "--locked", "--quiet"]
    build += ["--zig", "--compatibility", "manylinux_2_28", "--auditwheel", "check"]
    build += ["--target", f"{platform.machine()}-unknown-linux-gnu", "--out", out]
    alone = ["unshare", "--net", *build]
    subprocess.run(alone, cwd=folder, env=os.environ | variables, check=True)
    [wheel] = out.glob("*.whl")
    settle_wheel(wheel)
    return wheel


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, for `sha256sum --check`."""
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def main(folder: Path) -> None:
    """Finish the release in a folder; `ReleaseError` if it must not be published."""
    begin_process()
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        audit(wheel)
    copy_bill(wheels[0], folder)
    [source] = folder.glob("sudospawner_rs-*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        tree, out = Path(scratch, "tree"), Path(scratch, "out")
        tree.mkdir()
        out.mkdir()
        say("the source with all crates")
        unpacked = add_crates(source, tree)
        pack(unpacked, folder / source.name.replace(".tar.gz", "-with-crates.tar.xz"))
        say("this computer's wheel once more, from that, without a network")
        built = build_without_network(unpacked, out)
        if built.read_bytes() != (folder / built.name).read_bytes():
            raise ReleaseError(f"{built.name} is another one when it is built elsewhere")
    write_checksums(folder)
    say(f"{folder.resolve()}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except ReleaseError as error:
        sys.exit(str(error))
