#!/usr/bin/env bash
# Builds the page into the folder given, from nothing but esbuild and this folder.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
esbuild=$1 to=$2
build() { "$esbuild" "$here/$1" --bundle --minify --target=es2022 --charset=utf8 --legal-comments=none --log-level=warning --outfile="$to/$2" "${@:3}"; }
uplot='/*! contains uPlot 1.6.32, MIT licence: uplot-LICENSE */'
build main.js page.js --banner:js="$uplot"
build page.css page.css --banner:css="$uplot"
build cluster.js cluster.js
cp "$here/uplot/LICENSE" "$to/uplot-LICENSE"
