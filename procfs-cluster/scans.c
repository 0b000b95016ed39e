/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life of a scan: asking (pieces come in) -> done (told to who opened it) -> closed; the newest one that is done is kept
 * for a second more. A snapshot is shared by the scan and by readers that wait for a kind of file.
 */
#include "procfs-cluster/scans.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "procfs-cluster/procdir.h"
#include "procfs-cluster/scan.h"

#define FRESH_MS 1000u
/* Who opens a directory and reads on for longer gets what is true by then. */
#define OPEN_MAX_MS 30000u
#define WANTED_MS 60000u

/* What ps and top read of every process. */
#define ALWAYS (1u << PROC_FILE_stat | 1u << PROC_FILE_statm | 1u << PROC_FILE_status | 1u << PROC_FILE_cmdline)

struct scan {
	struct scan *prev, *next;
	struct scans *scans;
	struct snapshot *snapshot;
	uint32_t caller, tgid; /* the thread that opened it, and its process */
	uint32_t files;
	uint64_t done_ms; /* 0: still asking */
	unsigned pending; /* nodes being asked, and one for the start */
	bool closed;
	scans_done done;
	void *ctx;
};

struct waiter {
	struct waiter *next;
	uint32_t cpid;
	scans_read_done done;
	void *ctx;
};

/* A kind of file on its way for all processes of a node. */
struct kind_fetch {
	struct kind_fetch *prev, *next;
	struct scans *scans;
	struct snapshot *snapshot;
	uint32_t node;
	unsigned file;
	struct waiter *waiters;
	struct msg_proc_scan_req req;
};

struct scans {
	int proc_fd; /* borrowed */
	const struct subtree_host *host;
	struct remote *remote;
	struct nodes *nodes;
	struct scan *open;   /* asking, or done and not closed */
	struct scan *recent; /* closed, the newest of its kind; may be NULL */
	struct kind_fetch *fetches;
	uint64_t wanted_until_ms[PROC_FILE_NR];
};

/* One node's part of a scan. */
struct part {
	struct scan *scan;
	uint32_t node;
	struct msg_proc_scan_req req;
};

int scans_new(const struct subtree_host *host, struct remote *remote, struct nodes *nodes, int proc_fd,
	      struct scans **ret_s)
{
	struct scans *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->proc_fd = proc_fd;
	s->host = host;
	s->remote = remote;
	s->nodes = nodes;
	*ret_s = s;
	return 0;
}

static void scan_free(struct scan *scan)
{
	if (!scan)
		return;
	snapshot_unref(scan->snapshot);
	free(scan);
}

/* Everything under way must have ended (remote_free). */
void scans_free(struct scans *s)
{
	struct scan *scan, *next;

	if (!s)
		return;
	DL_FOREACH_SAFE(s->open, scan, next) {
		DL_DELETE(s->open, scan);
		scan_free(scan);
	}
	scan_free(s->recent);
	free(s);
}

/* FUSE names the thread that calls; 0 when it is gone. */
static uint32_t tgid_of(const struct scans *s, uint32_t tid)
{
	struct wire_writer w;
	struct text rest, word;
	char path[32];
	uint64_t tgid = 0;

	wire_writer_init(&w);
	snprintf(path, sizeof(path), "%u/status", tid);
	if (!procdir_read(s->proc_fd, path, 1 << 16, &w) && text_find(text_of(w.buf, w.len), "Tgid:", &rest) &&
	    text_word(&rest, &word) && !text_u64(word, &tgid))
		tgid = 0;
	wire_writer_release(&w);
	return (uint32_t)tgid;
}

/* ---- scanning ---- */

static void scan_unref(struct scan *scan)
{
	struct scans *s = scan->scans;

	if (--scan->pending)
		return;
	scan->done_ms = uv_now(s->host->loop);
	snapshot_sort(scan->snapshot);
	if (scan->closed) {
		DL_DELETE(s->open, scan);
		scan_free(scan);
	} else {
		scan->done(scan->ctx, scan, scan->snapshot);
	}
}

static void part_answered(void *ctx, int status, const void *rep)
{
	const struct msg_proc_scan_rep *r = rep;
	struct part *part = ctx;
	struct scan *scan = part->scan;
	struct scans *s = scan->scans;

	nodes_heard(s->nodes, part->node, status);
	if (!status) {
		nodes_load(s->nodes, part->node, r->node.p, r->node.len);
		status = snapshot_load(scan->snapshot, part->node, r->procs.p, r->procs.len, 1);
	}
	/* next grows: a node cannot keep us in a loop */
	if (!status && r->next > part->req.after && !scan->closed) {
		part->req.after = r->next;
		part->req.node_files = 0;
		remote_call(s->remote, part->node, MSG_proc_scan, &part->req, NODES_TIMEOUT_MS, part_answered, part);
		return;
	}
	free(part);
	scan_unref(scan);
}

static uint32_t wanted_files(const struct scans *s)
{
	uint64_t now = uv_now(s->host->loop);
	uint32_t files = ALWAYS;

	for (unsigned k = 0; k < PROC_FILE_NR; k++)
		if (s->wanted_until_ms[k] > now)
			files |= 1u << k;
	return files;
}

int scans_open(struct scans *s, uint32_t caller, scans_done done, void *ctx)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	uint32_t ids[CONFIG_NODES_MAX];
	size_t nr = nodes_to_ask(s->nodes, ids);
	int r = scan ? snapshot_new(&scan->snapshot) : -ENOMEM;

	if (r < 0) {
		free(scan);
		return r;
	}
	scan->scans = s;
	scan->caller = caller;
	scan->tgid = tgid_of(s, caller);
	scan->files = wanted_files(s);
	scan->pending = 1;
	scan->done = done;
	scan->ctx = ctx;
	DL_APPEND(s->open, scan);
	for (size_t i = 0; i < nr; i++) {
		struct part *part = malloc(sizeof(*part));

		if (!part)
			continue;
		*part = (struct part){ .scan = scan, .node = ids[i] };
		part->req = (struct msg_proc_scan_req){ .files = scan->files, .node_files = 1u << NODE_FILE_stat };
		scan->pending++;
		remote_call(s->remote, ids[i], MSG_proc_scan, &part->req, NODES_TIMEOUT_MS, part_answered, part);
	}
	scan_unref(scan);
	return 0;
}

void scans_close(struct scan *scan)
{
	struct scans *s = scan->scans;

	scan->closed = true;
	if (scan->pending)
		return;
	DL_DELETE(s->open, scan);
	if (s->recent && s->recent->done_ms > scan->done_ms) {
		scan_free(scan);
		return;
	}
	scan_free(s->recent);
	s->recent = scan;
}

void scans_expire(struct scans *s)
{
	scan_free(s->recent);
	s->recent = NULL;
}

/* ---- reading ---- */

/* May CALLER go by the scan? TGID: of caller, found out when it is needed; 0 until then. */
static bool may_use(const struct scans *s, const struct scan *scan, bool open, uint32_t caller, uint32_t *tgid)
{
	uint64_t age = uv_now(s->host->loop) - scan->done_ms;

	if (!scan->done_ms || age >= (open ? OPEN_MAX_MS : FRESH_MS))
		return false;
	if (scan->caller == caller)
		return true;
	if (!*tgid)
		*tgid = tgid_of(s, caller);
	return *tgid && *tgid == scan->tgid;
}

/* The newest snapshot that CALLER may go by and that has the process. */
static struct snapshot *snapshot_for(struct scans *s, uint32_t caller, uint32_t cpid)
{
	struct scan *best = NULL;
	uint32_t tgid = 0;

	if (s->recent && may_use(s, s->recent, false, caller, &tgid) && snapshot_find(s->recent->snapshot, cpid))
		best = s->recent;
	for (struct scan *scan = s->open; scan; scan = scan->next)
		if (may_use(s, scan, true, caller, &tgid) && snapshot_find(scan->snapshot, cpid) &&
		    (!best || scan->done_ms >= best->done_ms))
			best = scan;
	return best ? best->snapshot : NULL;
}

struct snapshot_proc *scans_find(struct scans *s, uint32_t caller, uint32_t cpid)
{
	struct snapshot *snapshot = snapshot_for(s, caller, cpid);

	return snapshot ? snapshot_find(snapshot, cpid) : NULL;
}

static void tell(const struct snapshot_proc *p, unsigned file, int missing, scans_read_done done, void *ctx)
{
	uint32_t bit = 1u << file;

	if (!p || !(p->have & bit))
		done(ctx, missing, text_of("", 0));
	else if (p->failed & bit)
		done(ctx, scan_state_error(p->states[file]), text_of("", 0));
	else
		done(ctx, 0, p->files[file]);
}

static void kind_end(struct kind_fetch *f, int status)
{
	struct waiter *w, *next;

	DL_DELETE(f->scans->fetches, f);
	LL_FOREACH_SAFE(f->waiters, w, next) {
		/* Left out of the answer: too large for a scan, or ended meanwhile; a read alone will tell. */
		tell(snapshot_find(f->snapshot, w->cpid), f->file, status ? -ESRCH : -EAGAIN, w->done, w->ctx);
		free(w);
	}
	snapshot_unref(f->snapshot);
	free(f);
}

static void kind_answered(void *ctx, int status, const void *rep)
{
	const struct msg_proc_scan_rep *r = rep;
	struct kind_fetch *f = ctx;
	struct scans *s = f->scans;

	nodes_heard(s->nodes, f->node, status);
	if (!status)
		status = snapshot_load(f->snapshot, f->node, r->procs.p, r->procs.len, 0);
	if (!status && r->next > f->req.after) {
		f->req.after = r->next;
		remote_call(s->remote, f->node, MSG_proc_scan, &f->req, NODES_TIMEOUT_MS, kind_answered, f);
		return;
	}
	kind_end(f, status);
}

static struct kind_fetch *kind_fetch_get(struct scans *s, struct snapshot *snapshot, uint32_t node, unsigned file,
					 bool *ret_new)
{
	struct kind_fetch *f;

	DL_FOREACH(s->fetches, f)
		if (f->snapshot == snapshot && f->node == node && f->file == file)
			return f;
	f = calloc(1, sizeof(*f));
	if (!f)
		return NULL;
	f->scans = s;
	f->snapshot = snapshot_ref(snapshot);
	f->node = node;
	f->file = file;
	f->req.files = 1u << file;
	DL_APPEND(s->fetches, f);
	*ret_new = true;
	return f;
}

/* True when NODE has been asked for this kind already: then a process that lacks it is to be read alone. */
static bool kind_was_fetched(const struct snapshot *snapshot, uint32_t node, unsigned file)
{
	for (struct snapshot_proc *p = NULL; (p = snapshot_next(snapshot, p));)
		if (p->id.node == node && p->have & 1u << file)
			return true;
	return false;
}

void scans_read(struct scans *s, uint32_t caller, uint32_t cpid, unsigned file, scans_read_done done, void *ctx)
{
	struct snapshot *snapshot = snapshot_for(s, caller, cpid);
	struct snapshot_proc *p = snapshot ? snapshot_find(snapshot, cpid) : NULL;
	struct kind_fetch *f;
	struct waiter *w;
	bool is_new = false;

	if (!p || file >= PROC_FILE_NR || !(proc_file_info(file)->flags & PF_BULK)) {
		done(ctx, -EAGAIN, text_of("", 0));
		return;
	}
	if (p->have & 1u << file || kind_was_fetched(snapshot, p->id.node, file)) {
		tell(p, file, -EAGAIN, done, ctx);
		return;
	}
	if (nodes_is_silent(s->nodes, p->id.node)) {
		done(ctx, -ESRCH, text_of("", 0));
		return;
	}
	s->wanted_until_ms[file] = uv_now(s->host->loop) + WANTED_MS;
	w = malloc(sizeof(*w));
	f = w ? kind_fetch_get(s, snapshot, p->id.node, file, &is_new) : NULL;
	if (!f) {
		free(w);
		done(ctx, -EAGAIN, text_of("", 0));
		return;
	}
	*w = (struct waiter){ NULL, cpid, done, ctx };
	LL_PREPEND(f->waiters, w);
	if (is_new)
		remote_call(s->remote, f->node, MSG_proc_scan, &f->req, NODES_TIMEOUT_MS, kind_answered, f);
}
