/* SPDX-License-Identifier: MIT */
typedef int rusmi_trust_folder;
