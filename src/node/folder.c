/* SPDX-License-Identifier: MIT */
typedef int rusmi_node_folder;
