#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The source for backports comes from the machine's own sources, in every format they may have."""
import subprocess
import sys
import unittest

from support import TOOLS, TreeTest

LIST = "etc/apt/sources.list"
PARTS = "etc/apt/sources.list.d/"


class Backports(TreeTest):
    def run_tool(self):
        return subprocess.run([sys.executable, str(TOOLS / "dev/backports.py"), "--root", str(self.root), "bookworm"],
                              capture_output=True, text=True, check=False)

    def stanza(self):
        run = self.run_tool()
        self.assertEqual(run.returncode, 0, run.stderr)
        return dict(line.split(": ", 1) for line in run.stdout.splitlines())

    def test_one_line_format(self):
        self.write({LIST: "# a comment\n"
                          "deb http://mirror.example/debian bookworm main contrib # ours\n"
                          "deb-src http://other.example/debian bookworm main\n"
                          "deb http://mirror.example/security bookworm-security main\n"})
        self.assertEqual(self.stanza(), {"Types": "deb", "URIs": "http://mirror.example/debian",
                                         "Suites": "bookworm-backports", "Components": "main"})

    def test_options_of_one_line_become_fields(self):
        self.write({LIST: "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg trusted=yes lang=none] "
                          "https://mirror.example/debian/ bookworm main\n"})
        found = self.stanza()
        self.assertEqual(found["Signed-By"], "/usr/share/keyrings/a.gpg")
        self.assertEqual(found["Architectures"], "amd64 arm64")
        self.assertEqual(found["Trusted"], "yes")
        self.assertNotIn("lang", {name.lower() for name in found})

    def test_deb822_format(self):
        self.write({PARTS + "debian.sources":
                    "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\n"
                    "Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/a.gpg\n\n"
                    "Types: deb\nURIs: http://mirror.example/security\nSuites: bookworm-security\n"
                    "Components: main\nSigned-By: /usr/share/keyrings/b.gpg\n"})
        found = self.stanza()
        self.assertEqual(found["URIs"], "http://mirror.example/debian")
        self.assertEqual(found["Signed-By"], "/usr/share/keyrings/a.gpg")
        self.assertEqual(found["Types"], "deb")

    def test_key_inside_the_stanza_is_kept(self):
        key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END PGP PUBLIC KEY BLOCK-----"
        self.write({PARTS + "debian.sources": "Types: deb\nURIs: http://mirror.example/debian\n"
                                              f"Suites: bookworm\nComponents: main\n{key}\n"})
        run = self.run_tool()
        self.assertIn("\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n -----END", run.stdout)

    def test_mirror_list_is_kept(self):
        self.write({LIST: "deb mirror+file:/etc/apt/mirrors/debian.list bookworm main\n"})
        self.assertEqual(self.stanza()["URIs"], "mirror+file:/etc/apt/mirrors/debian.list")

    def test_debian_is_preferred_to_others_with_its_suite(self):
        self.write({LIST: "deb http://vendor.example/tools bookworm main\n"
                          "deb http://mirror.example/deb bookworm main\n"
                          "deb http://mirror.example/deb bookworm-updates main\n"})
        self.assertEqual(self.stanza()["URIs"], "http://mirror.example/deb")

    def test_present_backports_need_nothing(self):
        self.write({LIST: "deb http://mirror.example/debian bookworm main\n"
                          "deb http://mirror.example/debian bookworm-backports main\n"})
        run = self.run_tool()
        self.assertEqual((run.returncode, run.stdout), (0, ""))

    def test_disabled_and_foreign_sources_do_not_count(self):
        self.write({LIST: "deb cdrom:[Debian]/ bookworm main\n#deb http://mirror.example/debian bookworm main\n",
                    PARTS + "a.sources": "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\n"
                                         "Suites: bookworm\nComponents: main\n",
                    PARTS + "b.list.disabled": "deb http://mirror.example/debian bookworm main\n"})
        run = self.run_tool()
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("bookworm", run.stderr)


if __name__ == "__main__":
    unittest.main()
