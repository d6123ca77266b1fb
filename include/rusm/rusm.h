/* SPDX-License-Identifier: MIT */
/**
 * @file
 * All of rusm: processes (librusm-otp) and clusters (librusm-cluster).
 */
#ifndef RUSM_RUSM_H
#define RUSM_RUSM_H

#include <rusm/cluster.h>
#include <rusm/otp.h>
#include <rusm/trust.h>

#endif
