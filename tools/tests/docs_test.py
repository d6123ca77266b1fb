#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Manual pages hold what the header says, and a call without a comment stops the generator."""
import shutil
import subprocess
import sys
import unittest

from support import TOOLS, TreeTest

HEADER = """/**
 * @file
 * Purpose.
 */
/**
 * Send bytes to `there`, or not.
 *
 * .A line that looks like a request. See rusm_b().
 *
 * Owns:    nothing.
 * Threads: any. Errors:  RUSM_EINVAL  to is the zero pid
 *          RUSM_EFULL   the queue
 *                       is full
 */
RUSM_API RUSM_MUST_CHECK rusm_err rusm_a(rusm_pid to, const void *data, size_t len, int64_t timeout_ms,
                                         rusm_pid *out_pid);
/** Like rusm_a(). */
RUSM_API void rusm_b(const char *format, ...) RUSM_PRINTF(1, 2);
/** What *noproc* is. */
typedef struct rusm_record {
    int x; /**< a number - or not */
    rusm_sort sort;
} rusm_record;
/** Which sort. */
typedef enum rusm_sort {
    RUSM_SORT_A = 0,
} rusm_sort;
/** A function. */
typedef bool (*rusm_fn)(const rusm_msg *msg,
                        void *arg);
/**
 * Do it with *out_x; NULL: without. It ends *normal*. Threads:
 * any.
 *
 * Owns:    the record, as long as
 *          it lives.
 * Errors:  what init returned
 *          RUSM_EFULL  no room
 *                      left
 *          and those of rusm_a()
 */
RUSM_API rusm_err rusm_c(const rusm_record *record, rusm_fn fn, rusm_pid pid);
"""


class Pages(TreeTest):
    def generate(self, header):
        self.write({"include/rusm/otp/a.h": header, "man/rusm_gone.3": "old"})
        return subprocess.run([sys.executable, str(TOOLS / "gendocs.py"), "--root", str(self.root), "--version", "9",
                               str(self.root / "man")], capture_output=True, text=True, check=False)

    def page(self, name="rusm_a"):
        run = self.generate(HEADER)
        self.assertEqual(run.returncode, 0, run.stderr)
        return (self.root / f"man/{name}.3").read_text(encoding="utf-8")

    def test_every_part_is_there(self):
        page = self.page()
        for part in (".TH rusm_a 3", "rusm_a \\- Send bytes to there, or not\n", "#include <rusm/otp/a.h>",
                     ".SH OWNERSHIP", ".SH THREADS", ".B RUSM_EFULL\nthe queue\nis full", "\\fBrusm_b\\fR(3)"):
            self.assertIn(part, page)
        self.assertNotIn("RUSM_MUST_CHECK", page)

    def test_types_that_a_call_names(self):
        page = self.page("rusm_c")
        self.assertIn(".SH TYPES\n.nf\ntypedef struct rusm_record {\n    int x; /**< a number \\- or not */\n", page)
        self.assertIn("} rusm_record;\n\ntypedef bool (*rusm_fn)(const rusm_msg *msg,\n", page)
        self.assertIn("void *arg);\n\ntypedef enum rusm_sort {\n    RUSM_SORT_A = 0,\n} rusm_sort;\n.fi", page)
        self.assertNotIn(".SH TYPES", self.page())

    def test_paragraphs_that_go_on(self):
        page = self.page("rusm_c")
        self.assertIn("rusm_c \\- Do it with *out_x\n", page)
        self.assertIn("It ends \\fInormal\\fR.\n.SH THREADS\n.PP\nAny.\n", page)
        self.assertIn("as long as\nit lives.", page)
        self.assertIn(".PP\nWhat init returned\n.TP\n.B RUSM_EFULL\nno room\nleft\n.PP\nand those of", page)

    def test_text_is_not_taken_for_requests(self):
        self.assertIn("\n\\&.A line", self.page())

    def test_variadic_call(self):
        self.assertIn("void rusm_b(const char *format, ...);", self.page("rusm_b"))

    def test_groff_accepts_it(self):
        if not shutil.which("groff"):
            self.skipTest("no groff")
        self.page()
        run = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(self.root / "man/rusm_a.3")],
                             capture_output=True, text=True, check=True)
        self.assertEqual(run.stderr, "")

    def test_pages_of_removed_calls_go(self):
        self.page()
        self.assertFalse((self.root / "man/rusm_gone.3").exists())

    def test_undocumented_call_fails(self):
        run = self.generate(HEADER + "RUSM_API void rusm_d(void);\n")
        self.assertEqual(run.returncode, 1)
        self.assertIn("rusm_d has no doc comment", run.stderr)
        self.assertFalse((self.root / "man/rusm_a.3").exists())


if __name__ == "__main__":
    unittest.main()
