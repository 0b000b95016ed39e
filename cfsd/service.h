/*
 * The file service of a node: serves 0x02xx to clients for the filesystems it is the server of, follows the servers of
 * the others it is a member of, brings its copies into sync.
 *
 * Everything runs on one loop's thread; waits for the disk's durability are in libuv's workers. What it needs of the
 * cluster and of the disk comes through struct file_service_host, so that tests can give it a cluster of their own.
 */
#ifndef CFS_CFSD_SERVICE_H
#define CFS_CFSD_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "cfsd/store.h"
#include "cluster/config.h"
#include "cluster/lease.h"
#include "wire/rpc.h"

struct file_service;

struct file_service_host {
	/* Opens this node's copy of a filesystem, empty when there was none. 0 or -errno. */
	int (*open_store)(void *ctx, uint32_t fs, struct store **ret_s);
	/* As cluster_lease_valid(), cluster_report_position(), cluster_fs_change(). */
	bool (*lease_valid)(void *ctx, uint32_t fs, uint64_t epoch);
	void (*report)(void *ctx, const struct lease_position *pos);
	void (*change)(void *ctx, uint32_t fs, uint64_t expected, uint32_t server, const uint32_t *in_sync,
		       size_t nr_in_sync, void (*done)(void *done_ctx, int status), void *done_ctx);
	void *ctx;
};

struct file_service_conf {
	uv_loop_t *loop;
	struct rpc *rpc;	/* borrowed; its accepted connections are the service's to watch */
	uint32_t self;		/* node id */
	const char *spool_dir;	/* for records that arrive while a copy is made; borrowed */
	uint16_t port_offset;	/* from a node's port in the configuration to its file service: 1 */
	uint32_t expire_ms;	/* 30000: session.h */
	size_t log_records;	/* 4096: recent records kept for members that were away */
	size_t log_bytes;	/* 32 MiB */
};

/* 0 or -ENOMEM. Serves nothing before it has a configuration. */
int file_service_new(const struct file_service_conf *conf, const struct file_service_host *host,
		     struct file_service **ret_svc);
/* A newer configuration; copied. */
void file_service_config(struct file_service *svc, const struct config *c);
/* The lease on FS may have ended: stops serving it at once if so. */
void file_service_lease_lost(struct file_service *svc, uint32_t fs);
/* Serves no more: whoever waits is sent elsewhere. Before the node gives its leases up. */
void file_service_stop(struct file_service *svc);
/*
 * Stops and closes the stores, the last when the workers are done; memory goes when the loop has run. The host is not
 * called any more and may not call back for changes under way (stop the cluster first); the rpc must still be there.
 */
void file_service_free(struct file_service *svc);

#endif
