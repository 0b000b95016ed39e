/*
 * cfs-migrated's service: answers the 0x06xx messages. Created on the loop it runs on.
 */
#ifndef CFS_MIGRATE_SERVICE_H
#define CFS_MIGRATE_SERVICE_H

#include <stdint.h>
#include <uv.h>

#include "cluster/config.h"
#include "wire/rpc.h"

struct service;

struct service_conf {
	const char *state_dir;	 /* /var/lib/cfs */
	const char *run_dir;	 /* /run/cfs: sockets of jobs, images (on tmpfs) */
	const char *job_program; /* path of cfs-job */
	const char *cfs_type;	 /* "fuse.cfs" */
	uint32_t node_id;
};

/* Registers its handlers with RPC and takes up what an earlier cfs-migrated left. Strings are borrowed. 0 or -errno. */
int service_new(uv_loop_t *loop, struct rpc *rpc, const struct service_conf *conf, struct service **ret_svc);
/* A newer configuration: where the nodes are. */
void service_set_config(struct service *svc, const struct config *config);

#endif
