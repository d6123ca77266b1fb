#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The guide shows what the programs have: anything else is found, and --update puts it right."""
import subprocess
import sys
import unittest

from support import TOOLS, TreeTest

PROGRAM = """#include <rusm/rusm.h>

/* guide: body */
static void body(void *arg)
{
    /* guide lines are for people */
}
/* guide end */

/* guide: main */
    int x;
/* guide end */
"""
GUIDE = """# Guide

<!-- examples/guide/01_a.c: body -->
```c
static void body(void *arg)
{
    /* guide lines are for people */
}
```

Text.

<!-- examples/guide/01_a.c: main -->
```c
int x;
```

<!-- examples/guide/01_a.out -->
```
hello
```

```sh
./dev build
```
"""


class Guide(TreeTest):
    def setUp(self):
        super().setUp()
        self.write({"examples/guide/01_a.c": PROGRAM, "examples/guide/01_a.out": "hello\n", "docs/guide.md": GUIDE})

    def check(self, *options):
        run = subprocess.run([sys.executable, str(TOOLS / "check_guide.py"), *options, str(self.root)],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, "")
        self.assertEqual(run.returncode, 1 if run.stdout else 0)
        return run.stdout.splitlines()

    def edit(self, path, old, new):
        file = self.root / path
        text = file.read_text(encoding="utf-8")
        self.assertIn(old, text)
        file.write_text(text.replace(old, new), encoding="utf-8")

    def refused(self, *words):
        found = self.check()
        self.assertEqual(len(found), 1, found)
        for word in words:
            self.assertIn(word, found[0])

    def test_clean(self):
        self.assertEqual(self.check(), [])

    def test_changed_program(self):
        self.edit("examples/guide/01_a.c", "int x;", "int y;")
        self.refused("docs/guide.md:14:", "01_a.c: main", "--update")

    def test_changed_guide(self):
        self.edit("docs/guide.md", "(void *arg)\n{", "(void *arg)\n\n{")
        self.refused("docs/guide.md:4:", "01_a.c: body")

    def test_changed_output(self):
        self.edit("examples/guide/01_a.out", "hello", "good bye")
        self.refused("01_a.out")

    def test_update_writes_what_the_programs_have(self):
        self.edit("docs/guide.md", "int x;\n", "")
        self.edit("docs/guide.md", "hello", "good bye")
        self.assertEqual(self.check("--update"), [])
        self.assertEqual((self.root / "docs/guide.md").read_text(encoding="utf-8"), GUIDE)

    def test_update_says_what_it_can_not_put_right(self):
        self.edit("docs/guide.md", "01_a.c: main", "01_a.c: other")
        self.assertEqual(len(self.check("--update")), 2)

    def test_c_from_nowhere(self):
        self.edit("docs/guide.md", "Text.", "```c\nint y;\n```")
        self.refused("comes from no program")

    def test_missing_part_and_file(self):
        self.edit("docs/guide.md", "01_a.out", "02_b.out")
        self.refused("no file examples/guide/02_b.out")

    def test_part_that_is_not_in_the_guide(self):
        self.edit("examples/guide/01_a.c", "#include", "/* guide: more */\nint z;\n/* guide end */\n#include")
        self.refused("part 'more' is not in the guide")

    def test_program_without_parts(self):
        self.write({"examples/guide/02_b.c": "int main(void) { return 0; }\n"})
        self.refused("02_b.c: no part")

    def test_markers_in_disorder(self):
        self.write({"examples/guide/02_b.c": "/* guide: a */\n/* guide: b */\n/* guide end */\n"})
        self.refused("02_b.c:2: part 'b' begins twice")
        self.write({"examples/guide/02_b.c": "/* guide: a */\n"})
        self.refused("part 'a' does not end")
        self.write({"examples/guide/02_b.c": "/* guide end */\n"})
        self.refused("02_b.c:1: no part ends here")
        self.write({"examples/guide/02_b.c": "int x; /* guide: a */\n"})
        self.refused("02_b.c:1: a marker is a line of its own")

    def test_block_without_end(self):
        self.edit("docs/guide.md", "./dev build\n```\n", "./dev build\n")
        self.refused("the block does not end")


if __name__ == "__main__":
    unittest.main()
