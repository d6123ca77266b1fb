/* SPDX-License-Identifier: MIT */
typedef int rusmi_wire_folder;
