#!/bin/sh
# Prints where a Chromium is: this machine's, else Debian's where it can be installed, else Playwright's own.
set -eu
cd "$(dirname "$0")"

find_one() {
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" && return
  done
  return 1
}

find_one && exit
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  { apt-get update && apt-get install --yes --no-install-recommends chromium; } > /dev/null 2>&1 || true
  find_one && exit
fi
npx --no-install playwright install chromium > /dev/null
exec node --input-type=module --eval 'import { chromium } from "@playwright/test"; console.log(chromium.executablePath())'
