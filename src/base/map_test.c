/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/map.h"
#include "base/prng.h"

#include <string.h>

#define COUNT 2000

struct element {
    struct rusmi_map_entry entry;
    uint32_t key;
    bool in;
};

static struct element elements[COUNT];

/* What CPython's hash(b"...") says, whose key is zero with PYTHONHASHSEED=0. */
static void test_siphash_is_what_others_say(void **state)
{
    static const struct {
        const char *text;
        uint64_t hash;
    } known[] = {
        {"a", 0x407448d2b89b1813u},
        {"ab", 0x555508cbc6add439u},
        {"abc", 0xc03bc3a0042630f2u},
        {"node", 0x35059013cd4a06dbu},
        {"worker0", 0x9ec6a190ec35fb85u},
        {"collects", 0x2efedcd8ea432432u},
        {"abcdefgh123", 0x9386d4fb771ecd44u},
        {"a name of sixteen bytes and more", 0x9710f4dca704a62fu},
    };
    const uint64_t seed[2] = {0, 0};

    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_true(rusmi_siphash(seed, known[i].text, strlen(known[i].text)) == known[i].hash);
    }
}

/* Each bit of the key counts. */
static void test_siphash_depends_on_all_of_its_key(void **state)
{
    const uint64_t none[2] = {0, 0};
    uint64_t plain = rusmi_siphash(none, "name", 4);

    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        uint64_t seed[2] = {0, 0};

        seed[bit / 64] = (uint64_t)1 << (bit % 64);
        assert_true(rusmi_siphash(seed, "name", 4) != plain);
    }
}

static void test_map_finds_what_a_flag_array_has(void **state)
{
    struct rusmi_map map;
    struct rusmi_prng prng;
    size_t len = 0, walked = 0;

    (void)state;
    rusmi_map_init(&map, 1, 2);
    rusmi_prng_init(&prng, 7);
    memset(elements, 0, sizeof(elements));
    for (int step = 0; step < 50000; step++) {
        uint32_t i = (uint32_t)rusmi_prng_below(&prng, COUNT);
        struct rusmi_map_entry *found = rusmi_map_find(&map, &i, sizeof(i));

        if (elements[i].in) {
            assert_ptr_equal(found, &elements[i].entry);
            rusmi_map_remove(&map, found);
            len--;
        } else {
            assert_null(found);
            elements[i].key = i;
            assert_true(rusmi_map_insert(&map, &elements[i].entry, &elements[i].key, sizeof(i)));
            len++;
        }
        elements[i].in = !elements[i].in;
        assert_int_equal(map.len, len);
    }
    rusmi_map_each(&map, entry, position, following)
    {
        struct element *element = rusmi_container(entry, struct element, entry);

        assert_true(element->in);
        element->in = false;
        rusmi_map_remove(&map, entry);
        walked++;
    }
    assert_int_equal(walked, len);
    assert_int_equal(map.len, 0);
    rusmi_map_fini(&map);
}

static void test_keys_of_different_length_are_different(void **state)
{
    struct rusmi_map map;
    struct element first = {0};

    (void)state;
    rusmi_map_init(&map, 1, 2);
    assert_null(rusmi_map_find(&map, "ab", 2));
    assert_true(rusmi_map_insert(&map, &first.entry, "ab", 2));
    assert_null(rusmi_map_find(&map, "ab", 1));
    assert_null(rusmi_map_find(&map, "ab\0", 3));
    assert_ptr_equal(rusmi_map_find(&map, "ab", 2), &first.entry);
    rusmi_map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_is_what_others_say),
        cmocka_unit_test(test_siphash_depends_on_all_of_its_key),
        cmocka_unit_test(test_map_finds_what_a_flag_array_has),
        cmocka_unit_test(test_keys_of_different_length_are_different),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
