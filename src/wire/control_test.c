/* SPDX-License-Identifier: MIT */
/* Control frames: each kind there and back, each malformed kind refused in its own words. */
#include "wire/control.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Encode, check the prefix, decode; the frame borrows from buf. */
static struct rusmi_frame there_and_back(struct rusmi_buf *buf, const struct rusmi_frame *frame)
{
    struct rusmi_frame back;
    const char *why = NULL;
    const uint8_t *head;

    rusmi_buf_init(buf);
    assert_int_equal(rusmi_control_encode(buf, frame), RUSM_OK);
    head = rusmi_buf_head(buf);
    assert_int_equal((size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3],
                     buf->len - RUSMI_FRAME_PREFIX);
    assert_int_equal(
        rusmi_control_decode(head + RUSMI_FRAME_PREFIX, buf->len - RUSMI_FRAME_PREFIX, &back, &why),
        RUSM_OK);
    assert_int_equal(back.type, frame->type);
    assert_int_equal(back.id, frame->id);
    return back;
}

static void done(struct rusmi_buf *buf, struct rusmi_frame *frame)
{
    rusmi_frame_fini(frame);
    rusmi_buf_fini(buf);
}

/* The bytes are those of docs/wire.md, so that the page and the code can not part. */
static void test_hello_is_what_the_page_says(void **state)
{
    static const uint8_t expected[] = {
        0x00, 0x00, 0x00, 0x3a, 0xa8, 0x00, 0x01, 0x01, 0x81, 0x01, 0x02, 0x64, 'd',
        'e',  'm',  'o',  0x03, 0x66, 'l',  'o',  'n',  'd',  'o',  'n',  0x04, 0x1b,
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x05, 0x00, 0x06, 0x6e, '1',
        '2',  '7',  '.',  '0',  '.',  '0',  '.',  '1',  ':',  '7',  '1',  '0',  '0',
        0x07, 0x68, 'r',  'u',  's',  'm',  ' ',  '0',  '.',  '1'};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_HELLO}, back;
    struct rusmi_buf buf;

    (void)state;
    frame.u.hello = (struct rusmi_hello){.versions = {1},
                                         .versions_len = 1,
                                         .cluster = "demo",
                                         .name = "london",
                                         .incarnation = 0x0123456789abcdefu,
                                         .address = "127.0.0.1:7100",
                                         .software = "rusm 0.1"};
    back = there_and_back(&buf, &frame);
    assert_int_equal(buf.len, sizeof(expected));
    assert_memory_equal(rusmi_buf_head(&buf), expected, sizeof(expected));
    assert_memory_equal(&back.u.hello, &frame.u.hello, sizeof(struct rusmi_hello));
    done(&buf, &back);
}

static void test_bare_and_numbered_frames(void **state)
{
    static const enum rusmi_frame_type types[] = {RUSMI_FRAME_ACCEPT, RUSMI_FRAME_READY,
                                                  RUSMI_FRAME_LEAVE, RUSMI_FRAME_PING,
                                                  RUSMI_FRAME_PONG};

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        struct rusmi_frame frame = {.type = types[i], .id = i < 3 ? 0 : UINT64_MAX}, back;
        struct rusmi_buf buf;

        back = there_and_back(&buf, &frame);
        done(&buf, &back);
    }
}

/* As many of the longest names as a frame may carry. */
static void test_full_names_frame(void **state)
{
    static char texts[RUSMI_NAMES_MAX][RUSM_NAME_MAX];
    static struct rusmi_name_entry entries[RUSMI_NAMES_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ADD}, back;
    struct rusmi_buf buf;

    (void)state;
    for (size_t i = 0; i < RUSMI_NAMES_MAX; i++) {
        memset(texts[i], 'a' + (int)(i % 26), RUSM_NAME_MAX);
        entries[i] = (struct rusmi_name_entry){texts[i], RUSM_NAME_MAX, UINT64_MAX - i, UINT64_MAX};
    }
    frame.u.names.entries = entries;
    frame.u.names.len = RUSMI_NAMES_MAX;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.names.len, RUSMI_NAMES_MAX);
    assert_int_equal(back.u.names.entries[199].serial, UINT64_MAX - 199);
    assert_int_equal(back.u.names.entries[199].time, UINT64_MAX);
    assert_memory_equal(back.u.names.entries[7].name, texts[7], RUSM_NAME_MAX);
    done(&buf, &back);

    frame.type = RUSMI_FRAME_NAMES_DEL;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.names.entries[3].name_len, RUSM_NAME_MAX);
    assert_int_equal(back.u.names.entries[3].serial, 0);
    done(&buf, &back);

    frame.u.names.len = RUSMI_NAMES_MAX + 1;
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    assert_int_equal(buf.len, 0);
    rusmi_buf_fini(&buf);
}

/* As many memberships in the longest groups as a frame may carry. */
static void test_full_groups_frame(void **state)
{
    static char texts[RUSMI_GROUPS_MAX][RUSM_NAME_MAX];
    static struct rusmi_group_entry entries[RUSMI_GROUPS_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_GROUPS_ADD}, back;
    struct rusmi_buf buf;

    (void)state;
    for (size_t i = 0; i < RUSMI_GROUPS_MAX; i++) {
        memset(texts[i], 'a' + (int)(i % 26), RUSM_NAME_MAX);
        entries[i] = (struct rusmi_group_entry){texts[i], RUSM_NAME_MAX, UINT64_MAX - i};
    }
    frame.u.groups.entries = entries;
    frame.u.groups.len = RUSMI_GROUPS_MAX;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.groups.len, RUSMI_GROUPS_MAX);
    assert_int_equal(back.u.groups.entries[199].serial, UINT64_MAX - 199);
    assert_int_equal(back.u.groups.entries[7].group_len, RUSM_NAME_MAX);
    assert_memory_equal(back.u.groups.entries[7].group, texts[7], RUSM_NAME_MAX);
    done(&buf, &back);

    frame.type = RUSMI_FRAME_GROUPS_DEL;
    frame.u.groups.len = 1;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.groups.entries[0].serial, UINT64_MAX);
    done(&buf, &back);

    rusmi_buf_init(&buf);
    frame.u.groups.len = RUSMI_GROUPS_MAX + 1;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    frame.u.groups.len = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    frame.u.groups.len = 1;
    entries[0].serial = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    entries[0] = (struct rusmi_group_entry){"", 0, 1};
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    assert_int_equal(buf.len, 0);
    rusmi_buf_fini(&buf);
}

/* As many of the longest members as a frame may carry. */
static void test_full_members_frame(void **state)
{
    static char texts[RUSMI_MEMBERS_MAX][RUSM_NAME_MAX];
    static struct rusmi_member_entry entries[RUSMI_MEMBERS_MAX];
    struct rusmi_frame frame = {.type = RUSMI_FRAME_MEMBERS}, back;
    struct rusmi_buf buf;

    (void)state;
    for (size_t i = 0; i < RUSMI_MEMBERS_MAX; i++) {
        memset(texts[i], 'a' + (int)(i % 26), RUSM_NAME_MAX);
        entries[i] = (struct rusmi_member_entry){texts[i], RUSM_NAME_MAX, UINT64_MAX - i, texts[i],
                                                 RUSMI_WIRE_ADDRESS_MAX};
    }
    frame.u.members.entries = entries;
    frame.u.members.len = RUSMI_MEMBERS_MAX;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.members.len, RUSMI_MEMBERS_MAX);
    assert_int_equal(back.u.members.entries[9].incarnation, UINT64_MAX - 9);
    assert_int_equal(back.u.members.entries[9].address_len, RUSMI_WIRE_ADDRESS_MAX);
    assert_memory_equal(back.u.members.entries[7].name, texts[7], RUSM_NAME_MAX);
    done(&buf, &back);

    rusmi_buf_init(&buf);
    frame.u.members.len = RUSMI_MEMBERS_MAX + 1;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    frame.u.members.len = 1;
    entries[0].address_len = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    entries[0].address_len = RUSMI_WIRE_ADDRESS_MAX + 1;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    entries[0].address_len = 1;
    entries[0].incarnation = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    assert_int_equal(buf.len, 0);
    rusmi_buf_fini(&buf);
}

static void test_requests(void **state)
{
    static const uint8_t args[RUSMI_SPAWN_ARGS_MAX] = {1, 2, 3};
    struct rusmi_request requests[] = {
        {.kind = RUSMI_REQUEST_SPAWN,
         .name = "worker",
         .args = args,
         .args_len = sizeof(args),
         .sender = 7,
         .link = 8,
         .monitor = 9},
        {.kind = RUSMI_REQUEST_SPAWN, .name = "worker"},
        {.kind = RUSMI_REQUEST_PROCESSES, .cursor = UINT64_MAX, .max = 5},
        {.kind = RUSMI_REQUEST_PEERS, .max = 1},
        {.kind = RUSMI_REQUEST_NAMES, .cursor = 3, .max = RUSMI_PAGE_MAX},
        {.kind = RUSMI_REQUEST_GROUPS, .cursor = 4, .max = 2},
        {.kind = RUSMI_REQUEST_WHEREIS, .name = "caf\xc3\xa9"},
        {.kind = RUSMI_REQUEST_KILL, .pid = {1, 2}},
        {.kind = RUSMI_REQUEST_RELOAD},
        {.kind = 4711},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct rusmi_frame frame = {.type = RUSMI_FRAME_REQUEST, .id = 42}, back;
        struct rusmi_buf buf;
        size_t args_len = requests[i].args_len;

        frame.u.request = requests[i];
        back = there_and_back(&buf, &frame);
        assert_int_equal(back.u.request.args_len, args_len);
        if (args_len != 0) {
            assert_memory_equal(back.u.request.args, args, args_len);
        }
        back.u.request.args = requests[i].args;
        assert_memory_equal(&back.u.request, &requests[i], sizeof(struct rusmi_request));
        done(&buf, &back);
    }
}

/* A request for more than a page gets a page. */
static void test_request_max_is_clipped(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REQUEST}, back;
    struct rusmi_buf buf;

    (void)state;
    frame.u.request.kind = RUSMI_REQUEST_NAMES;
    frame.u.request.max = UINT32_MAX;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.request.max, RUSMI_PAGE_MAX);
    done(&buf, &back);
}

/* The longest records of each kind that there can be. */
static void fill_pages(struct rusmi_process_record *processes, struct rusmi_peer_record *peers,
                       struct rusmi_name_record *names, struct rusmi_group_record *groups)
{
    for (size_t i = 0; i < RUSMI_PAGE_MAX; i++) {
        processes[i] = (struct rusmi_process_record){
            {UINT64_MAX, UINT64_MAX - i}, UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, "", ""};
        memset(processes[i].label, 'l', RUSM_NAME_MAX);
        memset(processes[i].name, 'n', RUSM_NAME_MAX);
        memset(&peers[i], 0xff, sizeof(peers[i]));
        peers[i].dialed = true;
        peers[i].up_ms = INT64_MIN;
        peers[i].payload_shrunk = UINT64_MAX - i;
        memset(peers[i].name, 'p', sizeof(peers[i].name));
        memset(peers[i].address, 'a', sizeof(peers[i].address));
        memset(peers[i].listen, 'l', sizeof(peers[i].listen));
        peers[i].name[RUSM_NAME_MAX] = peers[i].address[RUSMI_WIRE_ADDRESS_MAX] = '\0';
        peers[i].listen[RUSMI_WIRE_ADDRESS_MAX] = '\0';
        memset(names[i].name, 'n', RUSM_NAME_MAX);
        memset(names[i].node, 'o', RUSM_NAME_MAX);
        names[i].pid = (rusm_pid){UINT64_MAX, i + 1};
        memset(groups[i].name, 'g', RUSM_NAME_MAX);
        groups[i].members = UINT64_MAX - i;
        groups[i].local = i;
    }
}

/* A page of the longest records of each kind fits a frame and comes back equal. */
static void test_full_pages(void **state)
{
    struct rusmi_process_record *processes = calloc(RUSMI_PAGE_MAX, sizeof(*processes));
    struct rusmi_peer_record *peers = calloc(RUSMI_PAGE_MAX, sizeof(*peers));
    struct rusmi_name_record *names = calloc(RUSMI_PAGE_MAX, sizeof(*names));
    struct rusmi_group_record *groups = calloc(RUSMI_PAGE_MAX, sizeof(*groups));
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY, .id = UINT64_MAX}, back;
    struct rusmi_buf buf;

    (void)state;
    fill_pages(processes, peers, names, groups);
    memset(frame.u.reply.detail, 'd', RUSMI_DETAIL_MAX);
    frame.u.reply.cursor = UINT64_MAX;
    frame.u.reply.records_len = RUSMI_PAGE_MAX;

    frame.u.reply.kind = RUSMI_REQUEST_PROCESSES;
    frame.u.reply.records.processes = processes;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.reply.cursor, UINT64_MAX);
    assert_int_equal(back.u.reply.records_len, RUSMI_PAGE_MAX);
    assert_memory_equal(back.u.reply.records.any, processes, RUSMI_PAGE_MAX * sizeof(*processes));
    done(&buf, &back);

    frame.u.reply.kind = RUSMI_REQUEST_PEERS;
    frame.u.reply.records.peers = peers;
    back = there_and_back(&buf, &frame);
    for (size_t i = 0; i < RUSMI_PAGE_MAX; i++) {
        assert_string_equal(back.u.reply.records.peers[i].name, peers[i].name);
        assert_string_equal(back.u.reply.records.peers[i].address, peers[i].address);
        assert_string_equal(back.u.reply.records.peers[i].listen, peers[i].listen);
        assert_true(back.u.reply.records.peers[i].up_ms == INT64_MIN);
        assert_true(back.u.reply.records.peers[i].cert_not_after == -1);
        assert_true(back.u.reply.records.peers[i].queue_bytes == UINT64_MAX);
        assert_true(back.u.reply.records.peers[i].payload_max == UINT64_MAX);
        assert_true(back.u.reply.records.peers[i].payload_shrunk == UINT64_MAX - i);
        assert_true(back.u.reply.records.peers[i].dialed);
    }
    done(&buf, &back);

    frame.u.reply.kind = RUSMI_REQUEST_NAMES;
    frame.u.reply.records.names = names;
    back = there_and_back(&buf, &frame);
    assert_memory_equal(back.u.reply.records.any, names, RUSMI_PAGE_MAX * sizeof(*names));
    done(&buf, &back);

    frame.u.reply.kind = RUSMI_REQUEST_GROUPS;
    frame.u.reply.records.groups = groups;
    back = there_and_back(&buf, &frame);
    assert_memory_equal(back.u.reply.records.any, groups, RUSMI_PAGE_MAX * sizeof(*groups));
    done(&buf, &back);
    free(groups);
    free(processes);
    free(peers);
    free(names);
}

static void test_small_replies(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY, .id = 9}, back;
    struct rusmi_buf buf;

    (void)state;
    frame.u.reply.kind = RUSMI_REQUEST_WHEREIS;
    frame.u.reply.pid = (rusm_pid){3, 4};
    back = there_and_back(&buf, &frame);
    assert_true(rusm_pid_equal(back.u.reply.pid, frame.u.reply.pid));
    done(&buf, &back);

    frame.u.reply.err = RUSM_ENONAME;
    (void)strcpy(frame.u.reply.detail, "nobody is \"x\"");
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.reply.err, RUSM_ENONAME);
    assert_string_equal(back.u.reply.detail, "nobody is \"x\"");
    assert_int_equal(back.u.reply.pid.serial, 0);
    done(&buf, &back);

    frame.u.reply.kind = 4711;
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.reply.kind, 4711);
    done(&buf, &back);
}

static void test_certificate(void **state)
{
    static const uint8_t der[RUSMI_CERT_MAX + 1] = {0x30}, proof[RUSMI_PROOF_MAX + 1] = {1};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_CERTIFICATE}, back;
    struct rusmi_certificate *certificate = &frame.u.certificate;
    struct rusmi_buf buf;

    (void)state;
    *certificate = (struct rusmi_certificate){der, RUSMI_CERT_MAX, proof, RUSMI_PROOF_MAX};
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.u.certificate.der_len, RUSMI_CERT_MAX);
    assert_memory_equal(back.u.certificate.der, der, RUSMI_CERT_MAX);
    assert_int_equal(back.u.certificate.proof_len, RUSMI_PROOF_MAX);
    assert_memory_equal(back.u.certificate.proof, proof, RUSMI_PROOF_MAX);
    done(&buf, &back);
    rusmi_buf_init(&buf);
    certificate->der_len++;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    certificate->der_len = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    certificate->der_len = 1;
    certificate->proof_len++;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    rusmi_buf_fini(&buf);
}

static void test_flow(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_FLOW}, back;
    struct rusmi_buf buf;

    (void)state;
    frame.u.flow = (struct rusmi_flow){.serial = 9, .on = true};
    back = there_and_back(&buf, &frame);
    assert_memory_equal(&back.u.flow, &frame.u.flow, sizeof(struct rusmi_flow));
    done(&buf, &back);
    frame.u.flow = (struct rusmi_flow){.name = "sink"};
    back = there_and_back(&buf, &frame);
    assert_memory_equal(&back.u.flow, &frame.u.flow, sizeof(struct rusmi_flow));
    done(&buf, &back);
    frame.u.flow.serial = 1;
    rusmi_buf_init(&buf);
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    rusmi_buf_fini(&buf);
}

static void test_names_asked_for(void **state)
{
    struct rusmi_frame frame = {.type = RUSMI_FRAME_NAMES_ASK, .id = 70000}, back;
    struct rusmi_buf buf;

    (void)state;
    frame.u.names_ask = (struct rusmi_names_ask){.name = "leader", .serial = 9, .time = UINT64_MAX};
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.id, 70000);
    assert_memory_equal(&back.u.names_ask, &frame.u.names_ask, sizeof(struct rusmi_names_ask));
    done(&buf, &back);
    rusmi_buf_init(&buf);
    frame.u.names_ask.serial = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    rusmi_buf_fini(&buf);

    frame = (struct rusmi_frame){.type = RUSMI_FRAME_NAMES_AGREE, .id = 7};
    back = there_and_back(&buf, &frame);
    assert_int_equal(back.id, 7);
    assert_string_equal(back.u.names_agree.node, "");
    done(&buf, &back);
    frame.u.names_agree = (struct rusmi_names_agree){.node = "paris", .pid = {3, 4}};
    back = there_and_back(&buf, &frame);
    assert_memory_equal(&back.u.names_agree, &frame.u.names_agree,
                        sizeof(struct rusmi_names_agree));
    done(&buf, &back);
    rusmi_buf_init(&buf);
    frame.u.names_agree.pid.serial = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    rusmi_buf_fini(&buf);

    frame = (struct rusmi_frame){.type = RUSMI_FRAME_NAMES_MORE};
    back = there_and_back(&buf, &frame);
    done(&buf, &back);
    frame = (struct rusmi_frame){.type = RUSMI_FRAME_GROUPS_MORE};
    back = there_and_back(&buf, &frame);
    done(&buf, &back);
}

/* What can not be printed in a label or a detail is replaced, and a cut never splits a character.
 */
static void test_texts_are_cleaned(void **state)
{
    struct rusmi_process_record process = {.pid = {1, 1},
                                           .label = "a\nb\xff"
                                                    "c\xc3\xa9\xc3"};
    struct rusmi_frame frame = {.type = RUSMI_FRAME_REPLY}, back;
    struct rusmi_buf buf;

    (void)state;
    for (size_t i = 0; i + 1 < RUSM_NAME_MAX; i += 2) {
        memcpy(process.name + i, "\xc3\xa9", 2);
    }
    process.name[RUSM_NAME_MAX - 1] = '\xc3';
    frame.u.reply.kind = RUSMI_REQUEST_PROCESSES;
    frame.u.reply.records_len = 1;
    frame.u.reply.records.processes = &process;
    back = there_and_back(&buf, &frame);
    assert_string_equal(back.u.reply.records.processes[0].label, "a?b?c\xc3\xa9?");
    assert_int_equal(strlen(back.u.reply.records.processes[0].name), RUSM_NAME_MAX);
    done(&buf, &back);
}

static void test_encode_refuses_what_decode_would(void **state)
{
    struct rusmi_frame frame;
    struct rusmi_buf buf;

    (void)state;
    rusmi_buf_init(&buf);
    assert_true(rusmi_buf_append(&buf, "before", 6));
    memset(&frame, 0, sizeof(frame));
    frame.type = RUSMI_FRAME_HELLO;
    frame.u.hello.versions_len = 1;
    (void)strcpy(frame.u.hello.cluster, "c");
    (void)strcpy(frame.u.hello.name, "new\nline");
    frame.u.hello.incarnation = 1;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    (void)strcpy(frame.u.hello.name, "n");
    frame.u.hello.incarnation = 0;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    frame.type = 11;
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    memset(&frame, 0, sizeof(frame));
    frame.type = RUSMI_FRAME_REPLY;
    frame.u.reply.kind = RUSMI_REQUEST_SPAWN; /* success without a pid */
    assert_int_equal(rusmi_control_encode(&buf, &frame), RUSM_EINVAL);
    assert_int_equal(buf.len, 6);
    assert_memory_equal(rusmi_buf_head(&buf), "before", 6);
    rusmi_buf_fini(&buf);
}

struct malformed {
    const char *why;
    size_t len;
    const char *bytes;
};

#define BAD(why, bytes)                                                                            \
    {                                                                                              \
        why, sizeof(bytes) - 1, bytes                                                              \
    }

static const struct malformed malformed_cases[] = {
    BAD("the frame ends inside an item", ""),
    BAD("the frame ends inside an item", "\xa1"),
    BAD("the frame ends inside an item", "\xa1\x00\x19\x01"),
    BAD("the frame ends inside an item", "\xa2\x00\x04"),
    BAD("the frame ends inside an item", "\xa2\x00\x08\x01\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
    BAD("not a map where one is required", "\x00"),
    BAD("not a map where one is required", "\x80"),
    BAD("an item of indefinite length", "\xbf\x00\x02\xff"),
    BAD("an item of indefinite length", "\xa2\x00\x02\x01\x5f\xff"),
    BAD("not well-formed CBOR", "\xa2\x00\x02\x01\x1c"),
    BAD("the frame has no type", "\xa0"),
    BAD("the frame does not begin with its type", "\xa1\x01\x02"),
    BAD("not an unsigned integer where one is required", "\xa1\x20\x02"),
    BAD("not an unsigned integer where one is required", "\xa1\x61\x61\x02"),
    BAD("not an unsigned integer where one is required", "\xa1\x00\x61\x61"),
    BAD("not an unsigned integer where one is required", "\xa2\x00\x04\x01\x20"),
    BAD("a map key appears twice", "\xa2\x00\x02\x00\x02"),
    BAD("a map key appears twice", "\xa3\x00\x04\x01\x02\x01\x02"),
    BAD("a map key appears twice", "\xa3\x00\x02\x18\x63\x02\x18\x63\x02"),
    BAD("map keys are not in ascending order", "\xa3\x00\x04\x02\x02\x01\x02"),
    BAD("bytes follow the map in the frame", "\xa1\x00\x02\x00"),
    BAD("an unknown frame type", "\xa1\x00\x00"),
    BAD("an unknown frame type", "\xa1\x00\x18\x3e"),
    BAD("an unknown frame type", "\xa1\x00\x18\x3f"),
    BAD("a required field is missing", "\xa1\x00\x0b"),
    BAD("no members, or too many in one frame", "\xa2\x00\x0b\x01\x80"),
    BAD("no members, or too many in one frame", "\xa2\x00\x0b\x01\x98\x81"),
    BAD("a member entry has fewer than three elements", "\xa2\x00\x0b\x01\x81\x82\x61\x61\x01"),
    BAD("a name is empty, too long, or not printable UTF-8",
        "\xa2\x00\x0b\x01\x81\x83\x60\x01\x61\x61"),
    BAD("an incarnation or serial is 0", "\xa2\x00\x0b\x01\x81\x83\x61\x61\x00\x61\x61"),
    BAD("an address is empty, too long, or not printable UTF-8",
        "\xa2\x00\x0b\x01\x81\x83\x61\x61\x01\x60"),
    BAD("a required field is missing", "\xa1\x00\x0d"),
    BAD("no memberships, or too many in one frame", "\xa2\x00\x0d\x01\x80"),
    BAD("no memberships, or too many in one frame", "\xa2\x00\x0e\x01\x98\xc9"),
    BAD("a membership has fewer than two elements", "\xa2\x00\x0e\x01\x81\x81\x61\x61"),
    BAD("a name is empty, too long, or not printable UTF-8", "\xa2\x00\x0d\x01\x81\x82\x60\x01"),
    BAD("an incarnation or serial is 0", "\xa2\x00\x0d\x01\x81\x82\x61\x61\x00"),
    BAD("the frame ends inside an item", "\xa2\x00\x0d\x01\x81\x83\x61\x61\x01"),
    BAD("a required field is missing", "\xa1\x00\x04"),
    BAD("a required field is missing", "\xa1\x00\x01"),
    BAD("a required field is missing", "\xa1\x00\x06"),
    BAD("a required field is missing", "\xa3\x00\x08\x01\x01\x02\x05"),
    BAD("a required field is missing", "\xa4\x00\x09\x01\x01\x02\x05\x03\x00"),
    BAD("a required field is missing", "\xa2\x00\x0a\x02\x01"),
    BAD("a value is nested too deeply", "\xa2\x00\x02\x01\x81\x81\x81\x81\x81\x81\x81\x81\x81\x00"),
    BAD("a value is nested too deeply", "\xa2\x00\x02\x01\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\xc1\x00"),
    BAD("not an array where one is required", "\xa2\x00\x01\x01\x01"),
    BAD("no protocol version, or too many", "\xa2\x00\x01\x01\x80"),
    BAD("no protocol version, or too many", "\xa2\x00\x01\x01\x91"),
    BAD("an integer is out of range", "\xa2\x00\x01\x01\x81\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
    BAD("not a text string where one is required", "\xa2\x00\x01\x02\x41\x61"),
    BAD("a name is empty, too long, or not printable UTF-8", "\xa2\x00\x01\x02\x60"),
    BAD("a name is empty, too long, or not printable UTF-8", "\xa2\x00\x01\x02\x61\xff"),
    BAD("a name is empty, too long, or not printable UTF-8", "\xa2\x00\x01\x02\x61\x1b"),
    BAD("an incarnation or serial is 0", "\xa2\x00\x01\x04\x00"),
    BAD("a text has control characters", "\xa2\x00\x01\x06\x61\x0a"),
    BAD("a text is not UTF-8", "\xa2\x00\x01\x06\x61\xff"),
    BAD("no names, or too many in one frame", "\xa2\x00\x06\x01\x80"),
    BAD("no names, or too many in one frame", "\xa2\x00\x06\x01\x98\xc9"),
    BAD("no names, or too many in one frame",
        "\xa2\x00\x07\x01\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
    BAD("a name entry has fewer than three elements", "\xa2\x00\x06\x01\x81\x82\x61\x61\x01"),
    BAD("an incarnation or serial is 0", "\xa2\x00\x06\x01\x81\x83\x61\x61\x00\x01"),
    BAD("a list of no records is asked for", "\xa5\x00\x08\x01\x01\x02\x02\x03\x00\x04\x00"),
    BAD("not a byte string where one is required",
        "\xa5\x00\x08\x01\x01\x02\x01\x03\x61\x61\x04\x61\x61"),
    BAD("an error code is positive or out of range", "\xa4\x00\x09\x01\x01\x02\x06\x03\x01"),
    BAD("an error code is positive or out of range",
        "\xa4\x00\x09\x01\x01\x02\x06\x03\x3b\x00\x00\x00\x01\x00\x00\x00\x00"),
    BAD("too many records in one page", "\xa6\x00\x09\x01\x01\x02\x02\x03\x00\x05\x00\x06\x98\x61"),
    BAD("a required field is missing",
        "\xa6\x00\x09\x01\x01\x02\x04\x03\x00\x05\x00\x06\x81\xa1\x01\x61\x61"),
    BAD("flow names not exactly one of serial and name", "\xa2\x00\x0a\x01\xf5"),
    BAD("flow names not exactly one of serial and name",
        "\xa4\x00\x0a\x01\xf5\x02\x01\x03\x61\x61"),
    BAD("not true or false where one is required", "\xa2\x00\x0a\x01\x01"),
    BAD("a required field is missing", "\xa4\x00\x0f\x01\x01\x02\x61\x61\x03\x01"),
    BAD("an incarnation or serial is 0", "\xa5\x00\x0f\x01\x01\x02\x61\x61\x03\x00\x04\x01"),
    BAD("a required field is missing", "\xa1\x00\x10"),
    BAD("the owner of a name is told in part", "\xa3\x00\x10\x01\x01\x02\x61\x61"),
    BAD("the owner of a name is told in part", "\xa4\x00\x10\x01\x01\x02\x61\x61\x04\x01"),
};

static void test_malformed_frames_are_refused(void **state)
{

    (void)state;
    for (size_t i = 0; i < sizeof(malformed_cases) / sizeof(malformed_cases[0]); i++) {
        uint8_t *bytes =
            malloc(malformed_cases[i].len + 1); /* exact, so that reading past it is seen */
        struct rusmi_frame frame;
        const char *why = "accepted";
        rusm_err err;

        memcpy(bytes, malformed_cases[i].bytes, malformed_cases[i].len);
        err = rusmi_control_decode(bytes, malformed_cases[i].len, &frame, &why);
        free(bytes);
        if (err != RUSM_EPROTO || strcmp(why, malformed_cases[i].why) != 0) {
            fail_msg("case %zu: %s instead of: %s", i, why, malformed_cases[i].why);
        }
    }
}

/* Arguments and texts over their limits, which need more bytes than a literal. */
static void test_long_fields_are_refused(void **state)
{
    static uint8_t bytes[RUSMI_FRAME_MAX + 1] = {0xa5, 0,    8,   1, 1,    2,    1,
                                                 3,    0x61, 'f', 4, 0x59, 0x80, 0x01};
    struct rusmi_frame frame;
    const char *why = NULL;

    (void)state;
    assert_int_equal(rusmi_control_decode(bytes, 14 + 32769, &frame, &why), RUSM_EPROTO);
    assert_string_equal(why, "arguments are too long");
    bytes[12] = 0x80;
    bytes[13] = 0x00;
    assert_int_equal(rusmi_control_decode(bytes, 14 + 32768, &frame, &why), RUSM_OK);
    assert_int_equal(frame.u.request.args_len, 32768);
    rusmi_frame_fini(&frame);
    assert_int_equal(rusmi_control_decode(bytes, sizeof(bytes), &frame, &why), RUSM_EPROTO);
    assert_string_equal(why, "the frame is longer than its limit");
}

/* Unknown keys, of any well-formed value, and frames of the extension range are passed over. */
static void test_what_newer_versions_add_is_ignored(void **state)
{
    static const char ping[] =
        "\xa4\x00\x04\x01\x07\x18\x63\x82\xc1\x00\xfb\x00\x00\x00\x00\x00\x00\x00\x00\x19\x01\x00"
        "\xa1\x61\x61\xf6";
    static const char extension[] = "\xa2\x00\x18\x40\x01\x63\x61\x62\x63";
    static const char entry[] = "\xa2\x00\x06\x01\x81\x85\x61\x61\x01\x02\xf4\x80";
    struct rusmi_frame frame;

    (void)state;
    assert_int_equal(rusmi_control_decode((const uint8_t *)ping, sizeof(ping) - 1, &frame, NULL),
                     RUSM_OK);
    assert_int_equal(frame.id, 7);
    assert_int_equal(
        rusmi_control_decode((const uint8_t *)extension, sizeof(extension) - 1, &frame, NULL),
        RUSM_OK);
    assert_int_equal(frame.type, RUSMI_FRAME_EXTENSION);
    assert_int_equal(rusmi_control_decode((const uint8_t *)entry, sizeof(entry) - 1, &frame, NULL),
                     RUSM_OK);
    assert_int_equal(frame.u.names.entries[0].time, 2);
    rusmi_frame_fini(&frame);
}

/* Frames come out whole however the bytes come in. */
static void test_splitter_by_single_bytes(void **state)
{
    static const uint8_t stream[] = {0, 0, 0, 3, 'a', 'b', 'c', 0, 0, 0, 1, 'd'};
    struct rusmi_splitter splitter;
    const uint8_t *frame;
    size_t len, frames = 0;

    (void)state;
    rusmi_splitter_init(&splitter);
    for (size_t i = 0; i < sizeof(stream); i++) {
        assert_int_equal(rusmi_splitter_push(&splitter, stream + i, 1), RUSM_OK);
        if (i == 6 || i == 11) {
            assert_int_equal(rusmi_splitter_next(&splitter, &frame, &len), RUSM_OK);
            assert_int_equal(len, i == 6 ? 3 : 1);
            assert_int_equal(frame[0], i == 6 ? 'a' : 'd');
            frames++;
        } else {
            assert_int_equal(rusmi_splitter_next(&splitter, &frame, &len), RUSM_EAGAIN);
        }
    }
    assert_int_equal(frames, 2);
    rusmi_splitter_fini(&splitter);
}

static void test_splitter_refuses_a_bad_length_at_once(void **state)
{
    struct rusmi_splitter splitter;
    const uint8_t *frame;
    size_t len;

    (void)state;
    rusmi_splitter_init(&splitter);
    assert_int_equal(rusmi_splitter_push(&splitter, "\x00\x01\x00\x01", 4), RUSM_OK);
    assert_int_equal(rusmi_splitter_next(&splitter, &frame, &len), RUSM_EPROTO);
    rusmi_splitter_fini(&splitter);
    assert_int_equal(rusmi_splitter_push(&splitter, "\x00\x00\x00\x00", 4), RUSM_OK);
    assert_int_equal(rusmi_splitter_next(&splitter, &frame, &len), RUSM_EPROTO);
    rusmi_splitter_fini(&splitter);
    assert_int_equal(rusmi_splitter_push(&splitter, "\x00\x01\x00\x00", 4), RUSM_OK);
    assert_int_equal(rusmi_splitter_next(&splitter, &frame, &len), RUSM_EAGAIN);
    rusmi_splitter_fini(&splitter);
}

static void test_close_codes_have_texts(void **state)
{
    (void)state;
    assert_string_equal(rusmi_close_text(RUSMI_CLOSE_CLUSTER), "another cluster");
    assert_string_equal(rusmi_close_text(RUSMI_CLOSE_SILENT), "time-out");
    assert_int_equal(rusmi_close_err(RUSMI_CLOSE_CLUSTER), RUSM_EAUTH);
    assert_string_equal(rusmi_close_text(UINT64_MAX), "closed with an unknown code");
    assert_int_equal(rusmi_close_err(UINT64_MAX), RUSM_ENOLINK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_is_what_the_page_says),
        cmocka_unit_test(test_bare_and_numbered_frames),
        cmocka_unit_test(test_full_names_frame),
        cmocka_unit_test(test_full_groups_frame),
        cmocka_unit_test(test_full_members_frame),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_request_max_is_clipped),
        cmocka_unit_test(test_full_pages),
        cmocka_unit_test(test_small_replies),
        cmocka_unit_test(test_flow),
        cmocka_unit_test(test_certificate),
        cmocka_unit_test(test_names_asked_for),
        cmocka_unit_test(test_texts_are_cleaned),
        cmocka_unit_test(test_encode_refuses_what_decode_would),
        cmocka_unit_test(test_malformed_frames_are_refused),
        cmocka_unit_test(test_long_fields_are_refused),
        cmocka_unit_test(test_what_newer_versions_add_is_ignored),
        cmocka_unit_test(test_splitter_by_single_bytes),
        cmocka_unit_test(test_splitter_refuses_a_bad_length_at_once),
        cmocka_unit_test(test_close_codes_have_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
