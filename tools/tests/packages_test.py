#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What ./dev asks of apt, and what it says when it cannot. The machine is made of stubs that log their use."""
import os
import shutil
import subprocess
import unittest

from support import TOOLS, TreeTest

# What is left of a bare machine, next to the stubs.
REAL = ("bash", "cat", "cut", "dirname", "env", "id", "rm", "sed", "tr")
STUB = "#!/bin/bash\necho \"${0##*/} $*\" >>\"$LOG\"\n"


class Packages(TreeTest):
    def setUp(self):
        super().setUp()
        for name in REAL:
            # No symbolic links: a stub written over one would land in the real program.
            self.script(name, f'#!/bin/bash\nexec {shutil.which(name)} "$@"\n')
        self.stub("dpkg", 'case "$2" in 1.11*) exit 0 ;; *) exit 1 ;; esac')
        self.stub("tee", "cat >/dev/null")
        self.stub("sudo", '[[ $1 == -n ]] && shift\nexec "$@"')
        self.candidate("0.12.1")
        self.apt("arrive")

    def stub(self, name, body="exit 0"):
        self.script(name, f"{STUB}{body}\n")

    def script(self, name, text):
        file = self.root / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)

    def candidate(self, version):
        self.stub("apt-cache", f"echo '  Candidate: {version}'")

    def apt(self, then):
        """apt-get whose first install makes everything appear (arrive), nothing (stay), or update fails (broken)."""
        tools = ("gcc g++ ip cmake ninja pkg-config git clang clang-tidy clang-format valgrind shellcheck "
                 "codespell")
        arrive = ('case "$*" in *install*) for t in ' + tools + '; do printf "#!/bin/bash\\nexit 0\\n" >"$BIN/$t"; '
                  '/bin/chmod +x "$BIN/$t"; done; '
                  'printf "#!/bin/bash\\necho \'Types: deb\'\\n" >"$BIN/python3"; /bin/chmod +x "$BIN/python3" ;; esac')
        broken = 'case "$*" in *update*) [[ $(/usr/bin/grep -c update "$LOG") -lt 2 ]] ;; esac'
        self.stub("apt-get", {"arrive": arrive, "stay": "exit 0", "broken": f"{arrive}\n{broken}"}[then])

    def need(self, group, codename="bookworm", uid=0):
        script = (f". tools/dev/packages.sh; os_codename() {{ echo {codename}; }}; id() {{ echo {uid}; }}; "
                  f"set -euo pipefail; need {group}")
        env = {"PATH": str(self.root), "LOG": str(self.root / "log"), "BIN": str(self.root)}
        run = subprocess.run([shutil.which("bash"), "-c", script], cwd=TOOLS.parent, env=env, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, check=False)
        log = self.root / "log"
        return run, log.read_text(encoding="utf-8").splitlines() if log.exists() else []

    @staticmethod
    def installs(log):
        return [line.split("--no-install-recommends ", 1)[1].split() for line in log
                if line.startswith("apt-get") and " install " in line]

    def test_build_needs_no_lint_tools(self):
        run, log = self.need("build")
        self.assertEqual(run.returncode, 0, run.stderr)
        plain = self.installs(log)[0]
        self.assertIn("libgnutls28-dev", plain)
        self.assertFalse({"clang", "shellcheck", "valgrind", "g++"} & set(plain))

    def test_only_comparisons_need_erlang(self):
        self.apt("stay")
        self.candidate("1.11.0-1")
        for group, wanted in (("bench", True), ("build", False), ("check", False)):
            with self.subTest(group=group):
                _, log = self.need(group)
                self.assertEqual("erlang-base" in self.installs(log)[0], wanted)
                (self.root / "log").unlink()

    def test_old_release_gets_ngtcp2_from_backports(self):
        run, log = self.need("build")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("tee /etc/apt/sources.list.d/rusm-backports.sources", log)
        self.assertEqual(self.installs(log)[-1],
                         ["-t", "bookworm-backports", "libngtcp2-dev", "libngtcp2-crypto-gnutls-dev"])

    def test_new_release_needs_no_backports(self):
        self.candidate("1.11.0-1")
        run, log = self.need("build", "trixie")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertFalse([line for line in log if line.startswith("tee")])

    def test_unknown_release_without_ngtcp2_is_told(self):
        run, log = self.need("build", "bullseye")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("ngtcp2 1.11 or newer is needed; 'bullseye' offers 0.12.1", run.stderr)
        self.assertFalse([line for line in log if line.startswith("tee")])

    def test_mirror_without_backports_leaves_no_source_behind(self):
        self.apt("broken")
        self.stub("rm")
        run, log = self.need("build")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("does not serve bookworm-backports", run.stderr)
        self.assertIn("rm -f /etc/apt/sources.list.d/rusm-backports.sources", log)

    def test_user_goes_through_sudo(self):
        run, log = self.need("build", uid=1000)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue([line for line in log if line.startswith("sudo -n env DEBIAN_FRONTEND=noninteractive apt-get")])

    def test_user_without_sudo_is_told(self):
        (self.root / "sudo").unlink()
        run, log = self.need("build", uid=1000)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("needs root", run.stderr)
        self.assertEqual(log, [])

    def test_other_systems_are_told_what_is_missing(self):
        (self.root / "apt-get").unlink()
        run, _ = self.need("build")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("cmake", run.stdout)

    def test_installation_that_brings_nothing_is_an_error(self):
        self.apt("stay")
        self.candidate("1.11.0-1")
        run, _ = self.need("build")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("still missing after the installation: gcc", run.stderr)

    def test_nothing_missing_asks_nobody(self):
        self.need("check")
        (self.root / "log").unlink()
        self.stub("clang", 'echo "$BIN"')
        (self.root / "libclang_rt.asan.a").touch()
        run, log = self.need("check")
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        self.assertFalse([line for line in log if line.startswith(("apt", "sudo"))])


if __name__ == "__main__":
    unittest.main()
