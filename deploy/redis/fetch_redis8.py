#!/usr/bin/env python3
"""Fetch a Redis >= 8 from Debian's packages into a folder, without installing anything and without root.

    python3 deploy/redis/fetch_redis8.py .cache/redis8     # prints the folder: `bin/redis-server` is in it

Debian 12 ships Redis 7.0, the release after it Redis 8. apt is asked with a configuration of its own (own package
lists, the mirror that this system already uses, the newer suite), so the system's own apt stays as it is. The
packages are unpacked, not installed, and the server starts through the dynamic loader that came with them: it
needs a newer libc than this system has.
"""

import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUITE = "trixie"
PACKAGES = [
    "redis-server",
    "redis-tools",
    "libc6",
    "libssl3t64",
    "libjemalloc2",
    "liblzf1",
    "libsystemd0",
    "libstdc++6",
    "libgcc-s1",
    "zlib1g",
    "libzstd1",
    "liblzma5",
    "liblz4-1",
    "libcap2",
    "libgcrypt20",
    "libgpg-error0",
    "libatomic1",
]
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
WRAPPER = """#!/bin/sh
# Start the unpacked {program} with the loader and the libraries that came with it.
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
exec "$root/{loader}" --library-path "{libraries}" "$root/usr/bin/{program}" "$@"
"""


def main(argv: list[str]) -> int:
    """Fetch into the folder named by the only argument; return the exit status."""
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    target = Path(argv[1]).resolve()
    if not (target / "bin" / "redis-server").exists():
        try:
            fetch(target)
        except (OSError, LookupError, subprocess.SubprocessError) as exc:
            detail = (getattr(exc, "stderr", None) or "").strip()
            print(f"cannot fetch Redis >= 8: {exc}\n{detail}".strip(), file=sys.stderr)
            return 1
    print(target)
    return 0


def fetch(target: Path) -> None:
    """Download, unpack and wrap the packages; the folder appears complete or not at all."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise LookupError("this way needs a Debian system (apt-get, dpkg); put a redis-server >= 8 on PATH instead")
    site = mirror()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="redis8-") as folder:
        work, root = Path(folder), Path(folder) / "root"
        options = configure(work, site)
        run("apt-get", *options, "update", cwd=work)
        run("apt-get", *options, "download", *PACKAGES, cwd=work)
        for package in sorted(work.glob("*.deb")):
            run("dpkg", "-x", str(package), str(root), cwd=work)
        wrap(root)
        run(str(root / "bin" / "redis-server"), "--version", cwd=work)
        if not (target / "bin" / "redis-server").exists():  # else somebody was faster
            shutil.rmtree(target, ignore_errors=True)
            root.rename(target)


def mirror() -> str:
    """Return the address of the Debian mirror in this system's own sources."""
    release = dict(
        line.partition("=")[::2] for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if line
    )
    codename = release.get("VERSION_CODENAME", "").strip('"')
    shown = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in shown.splitlines():
        site, suite, component = line.rsplit(" ", 2)
        if suite == codename and component == "main":
            return site
    raise LookupError(f"no Debian mirror with suite {codename!r} in this system's apt sources")


def configure(work: Path, site: str) -> list[str]:
    """Lay out an apt of our own below `work`; return the options that make apt use it."""
    for folder in ("lists/partial", "archives/partial", "parts"):
        (work / folder).mkdir(parents=True)
    signed = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    (work / "sources.list").write_text(f"deb{signed} {site} {SUITE} main\n", encoding="utf-8")
    (work / "status").touch()
    settings = {
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": work / "parts",
        "Dir::Etc::preferencesparts": work / "parts",
        "Dir::State::lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work,
        "Dir::Cache::archives": work / "archives",
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
    }
    return ["-q", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]


def wrap(root: Path) -> None:
    """Write `bin/redis-server` and `bin/redis-cli`: shell files that work wherever the folder is moved to."""
    machine = platform.machine()
    loader = next((each for each in root.glob("**/ld-linux*.so*") if not each.is_symlink()), None)
    if loader is None:
        raise LookupError(f"the packages for {machine} hold no dynamic loader")
    folders = sorted({each.parent.relative_to(root) for each in root.glob("**/*.so.*")})
    libraries = ":".join(f"$root/{each}" for each in folders)
    (root / "bin").mkdir(exist_ok=True)
    for program in ("redis-server", "redis-cli"):
        shell = root / "bin" / program
        text = WRAPPER.format(program=program, loader=loader.relative_to(root), libraries=libraries)
        shell.write_text(text, encoding="utf-8")
        shell.chmod(0o755)


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a command quietly; return what it printed."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=300).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv))
