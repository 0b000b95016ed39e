/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Expands files.def. */
#include "procfs-cluster/files.h"

#include <errno.h>
#include <string.h>

#include "common/bytes.h"

static const struct proc_file_info proc_files[] = {
#define PROC_FILE(number, name, mode, flags) [number] = { #name, mode, flags },
#define NODE_FILE(number, name, join)
#include "procfs-cluster/files.def"
#undef PROC_FILE
#undef NODE_FILE
};

static const char *const node_files[] = {
#define PROC_FILE(number, name, mode, flags)
#define NODE_FILE(number, name, join) [number] = #name,
#include "procfs-cluster/files.def"
#undef PROC_FILE
#undef NODE_FILE
};

_Static_assert(ARRAY_LEN(proc_files) <= 32 && ARRAY_LEN(node_files) <= 32, "numbers are bits of a 32 bit mask");

const struct proc_file_info *proc_file_info(unsigned number)
{
	static const struct proc_file_info none;

	return number < ARRAY_LEN(proc_files) ? &proc_files[number] : &none;
}

const char *node_file_name(unsigned number)
{
	return number < ARRAY_LEN(node_files) ? node_files[number] : NULL;
}

int proc_file_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(proc_files); i++)
		if (proc_files[i].name && !strcmp(proc_files[i].name, name))
			return (int)i;
	return -ENOENT;
}
