/*
 * The process service of a node (0x05xx), part of cfsd: answers for the processes that run here, and hands writes to
 * control files on to this node's cfs-migrated once the caller's right to do so is checked.
 *
 * Thread: the loop's. Reading /proc is done on a thread of its own (common/worker.h), one request after the other.
 */
#ifndef CFS_PROCFS_SERVICE_H
#define CFS_PROCFS_SERVICE_H

#include <stdint.h>
#include <uv.h>

struct rpc;
struct proc_service;

struct proc_service_conf {
	uint32_t node_id;
	const char *state_dir;	   /* where cfs-migrated's job files are: /var/lib/cfs */
	const char *proc_dir;	   /* NULL: /proc */
	const char *migrated_host; /* numeric address of this node's cfs-migrated */
	uint16_t migrated_port;	   /* base port + 2 */
};

/* Takes the messages 0x05xx of RPC, which must outlive the service. CONF is copied. 0 or -errno. */
int proc_service_new(uv_loop_t *loop, struct rpc *rpc, const struct proc_service_conf *conf, struct proc_service **ret);
/* Answers what is under way. NULL is fine. */
void proc_service_free(struct proc_service *s);

#endif
