/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "otp/mailbox.h"

#include <rusm/otp/driver.h>

#include <stdint.h>

rusm_err rusm_msg_new(rusm_msg **out_msg, size_t len)
{
    rusm_msg *msg;

    if (len > SIZE_MAX - sizeof(*msg)) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    msg = rusmi_alloc(sizeof(*msg) + len);
    if (msg == NULL) {
        return rusm_set_err_detail(RUSM_ENOMEM, "out of memory");
    }
    msg->next = NULL;
    msg->sender = RUSM_PID_NONE;
    msg->len = len;
    *out_msg = msg;
    return RUSM_OK;
}

void rusm_msg_del(rusm_msg *msg)
{
    rusmi_free(msg);
}

void *rusm_msg_data(const rusm_msg *msg)
{
    return (void *)(uintptr_t)msg->data; /* the owner of a message may write it: see the header */
}

size_t rusm_msg_len(const rusm_msg *msg)
{
    return msg->len;
}

rusm_pid rusm_msg_sender(const rusm_msg *msg)
{
    return msg->sender;
}

void rusm_msg_set_sender(rusm_msg *msg, rusm_pid sender)
{
    msg->sender = sender;
}
