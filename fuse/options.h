/* The command line of mount.fuse.cfs, as mount(8) gives it to helpers: SOURCE DIR [-sfnv] [-o options]. */
#ifndef CFS_FUSE_OPTIONS_H
#define CFS_FUSE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *source, *dir;    /* of argv */
	char *state_dir, *log;	     /* owned; NULL: not given */
	unsigned long flags;	     /* MS_* */
	unsigned int retry_s;	     /* how long to look for the cluster */
	uint64_t soft_ms;	     /* 0: hard */
	bool foreground, fake, sloppy, help, version;
};

/* 0, or -EINVAL and what is wrong in ERROR (ERROR_LEN bytes). */
int options_parse(struct options *o, int argc, char **argv, char *error, unsigned int error_len);
void options_release(struct options *o);
extern const char options_usage[];

#endif
