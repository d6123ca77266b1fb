/* SPDX-License-Identifier: MIT */
/* Requests with an answer: see rusm/otp/call.h. */
#include <rusm/otp/call.h>

rusm_from rusm_msg_from(const rusm_msg *request)
{
    rusm_from from = {RUSM_PID_NONE, {0, 0}};

    if (rusm_msg_get_kind(request) == RUSM_MSG_CALL) {
        from.pid = rusm_msg_sender(request);
        from.ref = rusm_msg_ref(request);
    }
    return from;
}
