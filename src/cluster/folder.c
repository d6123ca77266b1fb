/* SPDX-License-Identifier: MIT */
typedef int rusmi_cluster_folder;
