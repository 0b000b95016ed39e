/*
 * /dev/fuse: the mount, and the requests that come out of it, on the loop. libfuse decodes them (session with our own
 * input and output); what it hides of a request (flags newer than it) is looked up here in the raw bytes.
 */
#ifndef CFS_FUSE_CHANNEL_H
#define CFS_FUSE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>

#include "fuse/mount.h"

struct channel;

struct channel_conf {
	const char *source;    /* first column of mount tables */
	const char *dir;       /* mount point */
	unsigned long flags;   /* MS_* */
	uint32_t max_io;       /* longest read and write */
};

/* Mounts and begins to serve. GONE is called once, when the mount is no more. 0 or -errno (mount(2)'s). */
int channel_open(struct mount *m, const struct channel_conf *conf, void (*gone)(struct mount *m),
		 struct channel **ret_ch);
/* Stops serving and frees; the kernel's side ends with it. */
void channel_free(struct channel *ch);
struct fuse_session *channel_session(struct channel *ch);

/*
 * Keeps SIZE bytes at DATA of the request being processed beyond its handler: large ones by taking the receive buffer,
 * small ones by copying. Returns what to free, NULL when out of memory; ret_data: where the bytes are now.
 */
void *channel_keep_data(struct channel *ch, const void *data, size_t size, const void **ret_data);
/* Does the write or setattr being processed have to take suid and sgid away (FUSE_HANDLE_KILLPRIV_V2)? */
bool channel_kills_priv(const struct channel *ch);

#endif
