/* SPDX-License-Identifier: MIT */
typedef int rusmi_platform_folder;
