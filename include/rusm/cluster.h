/* SPDX-License-Identifier: MIT */
/**
 * @file
 * All of librusm-cluster that programs use.
 */
#ifndef RUSM_CLUSTER_H
#define RUSM_CLUSTER_H

#include <rusm/cluster/app.h>
#include <rusm/cluster/events.h>
#include <rusm/cluster/membership.h>
#include <rusm/cluster/names.h>
#include <rusm/cluster/node.h>
#include <rusm/cluster/remote.h>
#include <rusm/otp.h>
#include <rusm/trust.h>

#endif
