/* SPDX-License-Identifier: MIT */
typedef int rusmi_otp_folder;
