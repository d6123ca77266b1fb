#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each checker passes a clean tree and finds what it is there to find."""
import subprocess
import sys
import unittest

from support import TOOLS, TreeTest

import check_banned
import check_docs
import check_links
import check_size
import check_symbols
import ctext


def body(lines):
    return "static void f(void)\n{\n" + "    g();\n" * (lines - 3) + "}\n"


class Banned(TreeTest):
    def found(self, path, line):
        self.write({path: f"void f(void)\n{{\n    {line}\n}}\n"})
        return list(check_banned.findings(self.root))

    def refused(self, path, line, instead):
        found = self.found(path, line)
        self.assertEqual(len(found), 1, found)
        self.assertIn(f"{path}:3:", found[0])
        self.assertIn(instead, found[0])

    def test_memory_belongs_to_base(self):
        self.refused("src/otp/a.c", "p = malloc(8);", "base/mem.h")
        self.assertEqual(self.found("src/otp/a.c", "p = rusmi_alloc(8); gnutls_free(p); table->free(p);"), [])
        self.assertEqual(self.found("src/base/mem.c", "free(p);"), [])

    def test_clock_belongs_to_platform(self):
        self.refused("src/quic/a.c", "clock_gettime(CLOCK_MONOTONIC, &ts);", "platform/clock.h")
        (self.root / "src/quic/a.c").unlink()
        self.assertEqual(self.found("src/platform/clock.c", "clock_gettime(CLOCK_MONOTONIC, &ts);"), [])

    def test_random_numbers_have_a_seed(self):
        self.refused("test/sim/a.c", "x = rand();", "base/prng.h")

    def test_libraries_do_not_print(self):
        self.refused("src/node/a.c", 'printf("x");', "log")
        self.refused("src/node/a.c", 'fprintf(stderr, "x");', "log")
        self.refused("src/node/a.c", 'fputs("x", stdout);', "log")
        self.assertEqual(self.found("src/node/a.c", 'snprintf(buf, n, "x"); fprintf(file, "x");'), [])
        self.assertEqual(self.found("src/cli/a.c", 'printf("x");'), [])

    def test_tests_do_not_sleep(self):
        self.refused("src/otp/a_test.c", "usleep(1000);", "deadline")
        self.assertEqual(self.found("src/otp/a_test.c", "rusm_sleep(1);"), [])

    def test_environment_belongs_to_the_command(self):
        self.refused("src/quic/a.c", 'x = getenv("X");', "config")

    def test_unbounded_copies(self):
        self.refused("bench/a.c", "strcpy(a, b);", "snprintf")

    def test_names_in_comments_and_strings_are_no_calls(self):
        self.assertEqual(self.found("src/otp/a.c", 'log("malloc(1)"); /* free(p) */ // rand()'), [])

    def test_allowed_with_a_reason_only(self):
        self.assertEqual(self.found("src/otp/a.c", "free(p); /* lint-allow(free): libc made it */"), [])
        self.refused("src/otp/a.c", "free(p); /* lint-allow(free): */", "base/mem.h")
        self.refused("src/otp/a.c", "free(p); /* lint-allow(malloc): libc made it */", "base/mem.h")

    def test_unfinished_work_names_its_issue(self):
        todo, fix = "TO" + "DO", "FIX" + "ME"
        self.refused("src/otp/a.c", f"/* {todo}: later */", "#issue")
        self.refused("src/otp/a.c", f"/* {fix} */", "#issue")
        self.assertEqual(self.found("src/otp/a.c", f"/* {todo}(#12): later */"), [])


class Size(TreeTest):
    def test_function_limit(self):
        self.write({"src/a.c": body(70)})
        self.assertEqual(list(check_size.findings(self.root)), [])
        self.write({"src/a.c": "int x[2] = {1, 2};\n" + body(71)})
        self.assertEqual(list(check_size.findings(self.root)), ["src/a.c:2: f has 71 lines; at most 70"])

    def test_file_limit(self):
        self.write({"src/a.c": "int x;\n" * 1001})
        self.assertEqual(len(list(check_size.findings(self.root))), 1)

    def test_line_limit(self):
        self.write({"src/a.c": "/* " + "x" * 94 + " */\n"})
        self.assertEqual(list(check_size.findings(self.root)), [])
        self.write({"src/a.c": "/* " + "x" * 95 + " */\n"})
        self.assertEqual(list(check_size.findings(self.root)), ["src/a.c:1: 101 columns; at most 100"])

    def test_braces_in_macros_and_strings_do_not_confuse(self):
        text = '#define BEGIN do {\n#define A(x) \\\n    if (x) { \\\n\nint f(int (*g)(int))\n{\n    return g(\'{\');\n}\n'
        self.assertEqual(list(ctext.functions(text)), [("f", 5, 4)])


class Docs(TreeTest):
    def found(self, comment, declaration="RUSM_API rusm_err rusm_a(int x);"):
        self.write({"include/rusm/a.h": f"/**\n * @file\n * Purpose.\n */\n\n{comment}\n{declaration}\n"})
        return list(check_docs.findings(self.root))

    def test_documented(self):
        self.assertEqual(self.found("/**\n * Do it.\n *\n * Errors: RUSM_EINVAL\n */"), [])

    def test_no_comment(self):
        self.assertIn("rusm_a has no doc comment", self.found("")[0])

    def test_comment_of_another_declaration_does_not_count(self):
        self.assertIn("no doc comment", self.found("/** Do it. Errors: none */\nstruct x;\n")[0])

    def test_no_sentence(self):
        self.assertIn("sentence", self.found("/** Errors */")[0])

    def test_failure_not_explained(self):
        self.assertIn("does not say how", self.found("/** Do it. */")[0])

    def test_mention_of_a_missing_call(self):
        self.assertIn("rusm_gone()", self.found("/** Do it. Errors: as rusm_gone() */")[0])

    def test_header_without_purpose(self):
        self.write({"include/rusm/a.h": "int x;\n"})
        self.assertIn("@file", list(check_docs.findings(self.root))[0])


class Links(TreeTest):
    def found(self, text):
        self.write({"a.md": text, "docs/b.md": "# Title, one\n\n## Part `x`\n", "docs/c.c": ""})
        return list(check_links.findings(self.root))

    def test_live_links(self):
        self.assertEqual(self.found("[b](docs/b.md) [t](docs/b.md#title-one) [p](docs/b.md#part-x) [c](docs/c.c) "
                                    "[w](https://example.org/x) [d](docs)\n"), [])

    def test_dead_links(self):
        self.assertEqual(self.found("[x](docs/x.md)"), ["a.md: dead link docs/x.md"])
        self.assertEqual(self.found("[x](docs/b.md#nowhere)"), ["a.md: no heading for docs/b.md#nowhere"])
        self.assertEqual(self.found("[x][y]\n\n[y]: gone.md\n"), ["a.md: dead link gone.md"])
        self.assertIn("out of the repository", self.found("[x](../)")[0])

    def test_code_is_no_link(self):
        self.assertEqual(self.found("`[x](y)`\n\n```c\na[i](gone)\n```\n"), [])


class Symbols(TreeTest):
    def test_names_are_public_and_declared(self):
        declared = {"rusm_a", "rusm_b", "rusm_app_main"}
        self.assertEqual(list(check_symbols.findings(declared, {"o": {"rusm_a"}, "c": {"rusm_b"}})), [])

    def test_leaks_and_gaps(self):
        for exports, says in (
                ({"o": {"rusm_a", "rusmi_x"}}, "rusmi_x"), ({"o": {"rusm_a", "helper"}}, "helper"),
                ({"o": {"rusm_a", "rusm_x"}}, "no public header"), ({"o": set()}, "no library exports"),
                ({"o": {"rusm_a"}, "c": {"rusm_a"}}, "and so does")):
            found = list(check_symbols.findings({"rusm_a"}, exports))
            self.assertEqual(len(found), 1, found)
            self.assertIn(says, found[0])

    def test_reads_a_library(self):
        self.write({"a.c": "int rusm_a(void) { return 0; }\n"
                           '__attribute__((visibility("hidden"))) int rusmi_a(void) { return 0; }\n'})
        library = str(self.root / "a.so")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, str(self.root / "a.c")], check=True)
        self.assertEqual({name for name in check_symbols.exported(library) if "rusm" in name}, {"rusm_a"})


class Layers(TreeTest):
    def run_tool(self, include):
        self.write({"tools/layers.txt": "base:\notp: base\ncli: +otp\n", "src/base/a.h": "", "src/otp/b.h": "",
                    "src/otp/b.c": '#include "base/a.h"\n#include <rusm/otp/process.h>\n', "src/base/c.c": include})
        return subprocess.run([sys.executable, str(TOOLS / "check_layers.py")], cwd=self.root,
                              capture_output=True, text=True, check=False)

    def test_clean(self):
        run = self.run_tool('#include "base/a.h"\n')
        self.assertEqual((run.returncode, run.stdout.strip()), (0, ""))

    def test_upward_and_fenced_includes(self):
        for include in ('#include "otp/b.h"\n', "#include <gnutls/x509.h>\n", "#include <rusm/cluster/node.h>\n"):
            run = self.run_tool(include)
            self.assertEqual(run.returncode, 1)
            self.assertIn("src/base/c.c", run.stdout)


if __name__ == "__main__":
    unittest.main()
