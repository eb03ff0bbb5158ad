#!/usr/bin/env bash
# Builds the page into the folder given, from nothing but esbuild and this folder.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
esbuild=$1 to=$2
for entry in main.js page.css; do
	"$esbuild" "$here/$entry" --bundle --minify --target=es2022 --charset=utf8 --legal-comments=none --log-level=warning \
		--banner:${entry##*.}='/*! contains uPlot 1.6.32, MIT licence: uplot-LICENSE */' --outfile="$to/page.${entry##*.}"
done
cp "$here/uplot/LICENSE" "$to/uplot-LICENSE"
