/* SPDX-License-Identifier: MIT */
/**
 * @file
 * All of librusm-otp that programs use. rusm/otp/driver.h, for those who connect other event
 * sources to the schedulers, is included by name.
 */
#ifndef RUSM_OTP_H
#define RUSM_OTP_H

#include <rusm/err.h>
#include <rusm/otp/info.h>
#include <rusm/otp/message.h>
#include <rusm/otp/process.h>
#include <rusm/otp/registry.h>
#include <rusm/otp/runtime.h>
#include <rusm/types.h>

#endif
