/* SPDX-License-Identifier: MIT */
typedef int rusmi_quic_folder;
