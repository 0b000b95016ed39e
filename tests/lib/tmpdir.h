/* A directory for one test, removed with all below it. */
#ifndef CFS_TESTS_LIB_TMPDIR_H
#define CFS_TESTS_LIB_TMPDIR_H

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct tmpdir {
	char path[64];
};

static inline void tmpdir_make(struct tmpdir *t)
{
	snprintf(t->path, sizeof(t->path), "/tmp/cfs-test-XXXXXX");
	cr_assert_not_null(mkdtemp(t->path));
}

static inline int tmpdir_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static inline void tmpdir_remove(struct tmpdir *t)
{
	nftw(t->path, tmpdir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
