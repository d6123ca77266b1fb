/* SPDX-License-Identifier: MIT */
/**
 * @file
 * All of librusm-otp that programs use. rusm/otp/driver.h, for those who connect other event
 * sources to the schedulers, is included by name.
 */
#ifndef RUSM_OTP_H
#define RUSM_OTP_H

#include <rusm/err.h>
#include <rusm/otp/blocking.h>
#include <rusm/otp/call.h>
#include <rusm/otp/group.h>
#include <rusm/otp/info.h>
#include <rusm/otp/link.h>
#include <rusm/otp/log.h>
#include <rusm/otp/memory.h>
#include <rusm/otp/message.h>
#include <rusm/otp/process.h>
#include <rusm/otp/reason.h>
#include <rusm/otp/registry.h>
#include <rusm/otp/runtime.h>
#include <rusm/otp/server.h>
#include <rusm/otp/stream.h>
#include <rusm/otp/supervisor.h>
#include <rusm/otp/task.h>
#include <rusm/otp/tcp.h>
#include <rusm/otp/timer.h>
#include <rusm/otp/trace.h>
#include <rusm/types.h>

#endif
