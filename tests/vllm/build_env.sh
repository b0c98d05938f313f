#!/usr/bin/env bash
# Make the environment that vLLM's CPU build runs in, or do nothing when it is up to date.
#
#   tests/vllm/build_env.sh [FOLDER]      FOLDER defaults to .venv-vllm beside this repository's sources
#
# Needs about 3.4 GB of disk and some minutes. PYTHON names the interpreter (default python3); uv is taken
# from .venv, from PATH, or installed into FOLDER.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=${1:-$root/.venv-vllm}
wanted=$root/deploy/vllm
stamp=$folder/.loopwright-stamp
fingerprint=$(cat "$wanted"/torch.txt "$wanted"/requirements.txt "$wanted"/overrides.txt "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)

if [[ -f $stamp && $(cat "$stamp") == "$fingerprint" ]]; then
    exit 0
fi

say() { printf 'vllm environment: %s\n' "$*" >&2; }

free_kb=$(df -Pk "$(dirname "$folder")" | awk 'NR==2 {print $4}')
if (( free_kb < 4000000 )); then
    say "needs 4 GB of free disk under $(dirname "$folder"), found $((free_kb / 1024)) MB"
    exit 1
fi

say "building $folder (3.4 GB, some minutes)"
rm -f "$stamp"
if [[ ! -x $folder/bin/python ]]; then
    "${PYTHON:-python3}" -m venv "$folder"
fi
python=$folder/bin/python

# torch goes first and by pip alone, so that pip's own settings (find-links, extra index) can name a CPU wheel.
if ! "$python" -m pip install --quiet --requirement "$wanted/torch.txt"; then
    say "pip found no CPU build of torch ($(grep '^torch' "$wanted/torch.txt"))."
    say "Name a source that has it, for example PyTorch's CPU index in PIP_EXTRA_INDEX_URL or a folder of wheels in PIP_FIND_LINKS, and run this again."
    exit 1
fi

uv=$root/.venv/bin/uv
[[ -x $uv ]] || uv=$(command -v uv || true)
if [[ -z $uv ]]; then
    "$python" -m pip install --quiet uv
    uv=$folder/bin/uv
fi
"$uv" pip install --quiet --python "$python" --requirement "$wanted/requirements.txt" --override "$wanted/overrides.txt"

build=$("$python" -c 'import importlib.metadata as m; print(m.version("torch"))')
if [[ $build != *+cpu ]]; then
    say "torch $build is not a CPU build; remove $folder, name a source of $(grep '^torch' "$wanted/torch.txt") and run this again."
    exit 1
fi

# Three processes import torch and vLLM one after another: with bytecode the start takes half as long.
PYTHONDONTWRITEBYTECODE='' "$python" -m compileall -q "$folder/lib" >/dev/null 2>&1 || true
printf '%s' "$fingerprint" > "$stamp"
say "ready"
