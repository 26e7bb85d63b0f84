#!/bin/sh
# Installs what the simulator needs to draw without a GPU or display, if it can without asking for
# a password; otherwise prints the line to run. Never fails: the demo goes on with a recording.
# usage: scripts/install_renderer.sh PYTHON
python=$1

works() {
  "$python" -c 'import sys; from octo_ros.sim import gl; sys.exit(bool(gl.problem()))' 2>/dev/null
}

works && exit 0

# OSMesa is the smaller of the two, but newer distributions have dropped it.
packages='libegl1 libgl1-mesa-dri'
if command -v apt-get >/dev/null; then
  apt-cache show libosmesa6 >/dev/null 2>&1 && packages=libosmesa6
  line="apt-get install --yes --no-install-recommends $packages"
  if [ "$(id -u)" = 0 ]; then
    as_root=''
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
  else
    echo "The simulator needs a software renderer. Run this, then start again:"
    echo "  sudo $line"
    exit 0
  fi
  echo "Installing a software renderer for the simulator: $packages"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  { $as_root $line || { $as_root apt-get update && $as_root $line; }; } >/dev/null 2>&1
  works && exit 0
  echo "That did not help. Try by hand:"
  echo "  sudo apt-get update && sudo $line"
else
  echo "The simulator needs a software renderer: install OSMesa or EGL with Mesa's drivers"
  echo "with this system's package manager (Debian and Ubuntu call them libosmesa6, or"
  echo "libegl1 and libgl1-mesa-dri)."
fi
