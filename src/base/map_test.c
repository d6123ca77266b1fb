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

/* The test vector of the SipHash paper: key 00 01 .. 0f, message 00 01 .. 0e. */
static void test_siphash_is_what_its_authors_say(void **state)
{
    const uint64_t seed[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    unsigned char text[15];

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (unsigned char)i;
    }
    assert_true(rusmi_siphash(seed, text, sizeof(text)) == 0xa129ca6149be45e5u);
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
        cmocka_unit_test(test_siphash_is_what_its_authors_say),
        cmocka_unit_test(test_map_finds_what_a_flag_array_has),
        cmocka_unit_test(test_keys_of_different_length_are_different),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
