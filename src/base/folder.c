/* SPDX-License-Identifier: MIT */
typedef int rusmi_base_folder;
