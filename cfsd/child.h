/* A program that cfsd runs beside itself and starts again when it dies. Loop thread only. */
#ifndef CFS_CFSD_CHILD_H
#define CFS_CFSD_CHILD_H

#include <uv.h>

struct child;

/*
 * Starts NAME, found in $CFS_LIBEXEC, beside this program, or where the build leaves it (../BUILD_DIR/). 0; -ENOENT:
 * it is nowhere (*ret_c is not written); other -errno. One that ends is started again after a second.
 */
int child_start(uv_loop_t *loop, const char *name, const char *build_dir, struct child **ret_c);
/* SIGTERM, SIGKILL two seconds later; memory goes when the loop has run. NULL is fine. */
void child_stop(struct child *c);

#endif
