#!/usr/bin/env bash
# Runs inside Colab's image, started by workflows/colab.yml: installs the course and runs its chapters.
# It fails if the installation replaces or removes anything, or if a cell of a chapter fails.
set -euo pipefail

course=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)

python3 --version
export TF_CPP_MIN_LOG_LEVEL=2
python3 -m pip freeze | sort >"$work/before"
python3 -m pip install --quiet "$course"
python3 -m pip freeze | sort >"$work/after"

echo "New: $(comm -13 "$work/before" "$work/after" | paste -sd ' ')"
replaced=$(comm -23 "$work/before" "$work/after")
if [ -n "$replaced" ]; then
  echo "The installation replaced or removed these packages of Colab:" >&2
  echo "$replaced" >&2
  exit 1
fi

# Away from the repository, so that `helpers` is the installed package
cp "$course"/notebooks/*.ipynb "$work"
cd "$work"
for notebook in *.ipynb; do
  echo "== $notebook"
  jupyter execute --timeout=900 --kernel_name=python3 "$notebook"
done
