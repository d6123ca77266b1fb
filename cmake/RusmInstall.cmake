# SPDX-License-Identifier: MIT
# Installation: libraries, headers, command, pkg-config and CMake package files.
