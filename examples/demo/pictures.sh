#!/usr/bin/env bash
# pictures.sh PROGRAM MODEL FOLDER: writes the pictures of README.md, the model's answers to questions.jsonl, into FOLDER.
set -euo pipefail
readonly program="$1" model="$2" folder="$3" demo="$(dirname "${BASH_SOURCE[0]}")"
work=$(mktemp -d)
readonly work
trap 'rm -rf "$work"' EXIT

"$program" segment --model "$model" --jobs "$demo/questions.jsonl" --output "$work" --threads 1
python3 "$demo/answers_as_data.py" "$work" camera red tea shade >"$work/answers.jsonl"
"$program" data show "$work/answers.jsonl" --count 4 --columns 4 --width 320 --output "$folder/answers.png"
cp "$work/pasta_overlay.png" "$folder/overlay.png"
