#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of several build trees run as one, and a failure in any of them is a failure of the whole."""
import subprocess
import sys
import unittest

from support import TOOLS, TreeTest

TREE = """add_test([=[unit.a]=] "{command}" "with space")
set_tests_properties([=[unit.a]=] PROPERTIES LABELS "unit;fast" TIMEOUT "30")
add_test([=[slow.b]=] "false")
set_tests_properties([=[slow.b]=] PROPERTIES LABELS "slow")
"""


class Merge(TreeTest):
    def merge(self, *args, command="true"):
        self.write({"build/one/CTestTestfile.cmake": TREE.format(command=command),
                    "build/two/CTestTestfile.cmake": TREE.format(command="true")})
        subprocess.run([sys.executable, str(TOOLS / "merge_ctest.py"), *args, "--only", "one:^unit$",
                        "--only", "two:^unit$", "out", "one", "two"], cwd=self.root, check=True)
        return subprocess.run(["ctest", "--test-dir", str(self.root / "out"), "--output-on-failure"],
                              capture_output=True, text=True, check=False)

    def test_all_trees_and_commands_run_once(self):
        run = self.merge("--extra", "ci.x=test -d build && echo 'a;b'")
        self.assertEqual(run.returncode, 0, run.stdout)
        for name in ("one.unit.a", "two.unit.a", "ci.x"):
            self.assertIn(name, run.stdout)
        self.assertNotIn("slow.b", run.stdout)
        self.assertIn("100% tests passed, 0 tests failed out of 3", run.stdout)

    def test_a_failure_is_seen(self):
        run = self.merge(command="false")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("1 tests failed out of 2", run.stdout)

    def test_a_failed_command_is_seen(self):
        self.assertNotEqual(self.merge("--extra", "ci.x=exit 3").returncode, 0)


if __name__ == "__main__":
    unittest.main()
