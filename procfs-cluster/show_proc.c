/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of processes. From a scan where there is one the reader may go by, else: locate -> read on the node where it
 * runs -> once more from the start when it had just left.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/cpid.h"
#include "procfs-cluster/rewrite.h"
#include "procfs-cluster/scan.h"
#include "procfs-cluster/show.h"

#define READ_TIMEOUT_MS 5000u
/* How old an answer to "where is it?" may be: a wrong one costs one more question. */
#define LOCATE_AGE_MS 1000u

void show_start(struct show *s)
{
	s->entry = tree_entry(s->node.id);
	s->id = (struct ident){ 0 };
	s->located_again = false;
	wire_writer_init(&s->out);
	if (s->entry->show)
		s->entry->show(s);
	else
		show_end(s, 0);
}

void show_release(struct show *s)
{
	wire_writer_release(&s->out);
}

void show_end(struct show *s, int status)
{
	s->done(s->ctx, status ? status : s->out.err);
}

const char *show_node_name(const struct procfs *fs, uint32_t node, char buf[16])
{
	const struct config *c = fs->host->config(fs->host->ctx);
	const struct config_node *n = c ? config_node_by_id(c, node) : NULL;

	if (n)
		return n->name;
	snprintf(buf, 16, "%u", node);
	return buf;
}

/* ---- stat is shown as the reader may see it ---- */

static void put_stat(struct show *s, struct text t)
{
	struct rewrite_view view = {
		.ticks = nodes_ticks(s->fs->nodes, s->id.node),
		.first_cpu = nodes_first_cpu(s->fs->nodes, s->id.node),
		.hide = !proc_may_trace(s->uid, s->gid, s->id.file_uid, s->id.file_gid),
	};

	show_end(s, rewrite_stat_for_reader(t, &view, &s->out));
}

static void boot_known(void *ctx)
{
	struct show *s = ctx;
	struct wire_writer raw = s->out;

	wire_writer_init(&s->out);
	put_stat(s, text_of(raw.buf, raw.len));
	wire_writer_release(&raw);
}

static bool is_stat(const struct show *s)
{
	return s->node.id == TREE_P_stat || s->node.id == TREE_T_stat;
}

/* TEXT is the file as the node gave it; S->id is who it is about. */
static void put_content(struct show *s, struct text t)
{
	if (is_stat(s) && nodes_boot_known(s->fs->nodes, s->id.node)) {
		put_stat(s, t);
		return;
	}
	text_put(&s->out, t.p, text_len(t));
	if (is_stat(s))
		nodes_fetch(s->fs->nodes, 1u << NODE_FILE_stat, 0, boot_known, s);
	else
		show_end(s, 0);
}

/* ---- alone ---- */

static void read_located(void *ctx, int status, const struct ident *id);

static void read_answered(void *ctx, int status, const void *rep)
{
	const struct msg_proc_read_rep *r = rep;
	struct show *s = ctx;

	/* Of cantmove it is cfs-migrated that may take its time. */
	if (s->node.id != TREE_CANTMOVE)
		nodes_heard(s->fs->nodes, s->id.node, status);
	if (status == -ESRCH && !s->located_again) {
		s->located_again = true;
		locate(s->fs->locator, s->node.cpid, 0, read_located, s);
		return;
	}
	if (status)
		show_end(s, status);
	else
		put_content(s, text_of(r->data.p, r->data.len));
}

static void read_located(void *ctx, int status, const struct ident *id)
{
	struct show *s = ctx;
	uint32_t timeout_ms = status ? 0 : nodes_patience(s->fs->nodes, id->node, READ_TIMEOUT_MS);

	if (!timeout_ms) {
		show_end(s, status ? status : -EHOSTUNREACH);
		return;
	}
	s->id = *id;
	s->req.read = (struct msg_proc_read_req){ .cpid = s->node.cpid, .uid = s->uid, .gid = s->gid, .path = s->path };
	remote_call(s->fs->remote, id->node, MSG_proc_read, &s->req.read, timeout_ms, read_answered, s);
}

/* PATH in s->path is set. */
static void read_alone(struct show *s)
{
	locate(s->fs->locator, s->node.cpid, LOCATE_AGE_MS, read_located, s);
}

/* ---- the kernel's files ---- */

/* Who may not read it gets what the kernel gives: true, and the show has ended. */
static bool refused(struct show *s, unsigned flags)
{
	if (proc_may_read(flags, s->uid, s->gid, s->id.file_uid, s->id.file_gid))
		return false;
	show_end(s, flags & PF_ZERO ? text_put(&s->out, "0", 1) : -EACCES);
	return true;
}

/* The names of the records that a scan has for task/. */
static int put_thread_names(struct show *s, struct text records)
{
	struct wire_reader r = { (const uint8_t *)records.p, (const uint8_t *)records.end };
	struct scan_proc thread;
	int got;

	while ((got = scan_get(&r, &thread)) > 0) {
		text_printf(&s->out, "%u", thread.cpid);
		text_put(&s->out, "", 1);
	}
	return got;
}

static void scanned(void *ctx, int status, struct text t)
{
	struct show *s = ctx;

	if (status == -EAGAIN)
		read_alone(s);
	else if (status)
		show_end(s, status);
	else if (s->node.id == TREE_P_task)
		show_end(s, put_thread_names(s, t));
	else
		put_content(s, t);
}

void show_process(struct show *s)
{
	const struct proc_file_info *info = proc_file_info(s->entry->arg);
	const struct snapshot_proc *p = NULL;

	snprintf(s->path, sizeof(s->path), "%s", info->name);
	if (info->flags & PF_BULK)
		p = scans_find(s->fs->scans, s->caller, s->node.cpid);
	if (!p) {
		read_alone(s);
		return;
	}
	s->id = p->id;
	if (!refused(s, info->flags))
		scans_read(s->fs->scans, s->caller, s->node.cpid, s->entry->arg, scanned, s);
}

void show_below(struct show *s)
{
	snprintf(s->path, sizeof(s->path), "%s/%u", proc_file_info(s->entry->arg)->name, s->node.number);
	read_alone(s);
}

static bool find_thread(struct text records, uint32_t number, struct scan_proc *ret)
{
	struct wire_reader r = { (const uint8_t *)records.p, (const uint8_t *)records.end };

	while (scan_get(&r, ret) > 0)
		if (cpid_pid(ret->cpid) == number)
			return true;
	return false;
}

static void threads_known(void *ctx, int status, struct text records)
{
	struct scan_proc thread;
	struct show *s = ctx;

	if (!status && find_thread(records, s->node.number, &thread)) {
		/* The one thread's files are the process's (of stat, times of threads that have ended are in them). */
		if (!thread.nr_files) {
			scans_read(s->fs->scans, s->caller, s->node.cpid, s->entry->arg, scanned, s);
			return;
		}
		for (unsigned i = 0; i < thread.nr_files; i++)
			if (thread.files[i].number == s->entry->arg && thread.files[i].state == SCAN_DATA) {
				put_content(s, thread.files[i].text);
				return;
			}
	}
	read_alone(s);
}

void show_thread(struct show *s)
{
	const struct proc_file_info *info = proc_file_info(s->entry->arg);
	const struct snapshot_proc *p;

	if (!(info->flags & PF_THREAD)) {
		show_process(s);
		return;
	}
	p = scans_find(s->fs->scans, s->caller, s->node.cpid);
	snprintf(s->path, sizeof(s->path), "task/%u/%s", s->node.number, info->name);
	if (!p || !(info->flags & PF_BULK)) {
		read_alone(s);
		return;
	}
	s->id = p->id;
	if (!refused(s, info->flags))
		scans_read(s->fs->scans, s->caller, s->node.cpid, PROC_FILE_task, threads_known, s);
}

/* ---- where it is ---- */

static void where_located(void *ctx, int status, const struct ident *id)
{
	struct show *s = ctx;
	char buf[16];

	if (!status)
		text_printf(&s->out, "%s\n", show_node_name(s->fs, id->node, buf));
	show_end(s, status);
}

void show_where(struct show *s)
{
	locate(s->fs->locator, s->node.cpid, 0, where_located, s);
}

/* home and nmigs come as numbers; names of nodes are known here. */
struct number_ask {
	struct show show;    /* reads the number */
	struct show *caller; /* shows a name */
};

static void number_answered(void *ctx, int status)
{
	struct number_ask *ask = ctx;
	struct show *s = ask->caller;
	uint64_t number = 0;
	struct text t = text_of(ask->show.out.buf, ask->show.out.len), line, word;
	char buf[16];

	if (!status && (!text_line(&t, &line) || !text_word(&line, &word) || !text_u64(word, &number) || number > UINT32_MAX))
		status = -EBADMSG;
	if (!status && s->node.id == TREE_HOME)
		text_printf(&s->out, "%s\n", show_node_name(s->fs, (uint32_t)number, buf));
	else if (!status && !number)
		text_printf(&s->out, "0\n");
	else if (!status)
		text_printf(&s->out, "%s\n", show_node_name(s->fs, ask->show.id.node, buf));
	show_release(&ask->show);
	free(ask);
	show_end(s, status);
}

/* A read of PATH for S, whose answer is a number. */
static void ask_number(struct show *s, const char *path)
{
	struct number_ask *ask = calloc(1, sizeof(*ask));

	if (!ask) {
		show_end(s, -ENOMEM);
		return;
	}
	ask->caller = s;
	ask->show.fs = s->fs;
	ask->show.node = s->node;
	ask->show.entry = s->entry;
	ask->show.uid = s->uid;
	ask->show.gid = s->gid;
	ask->show.caller = s->caller;
	ask->show.done = number_answered;
	ask->show.ctx = ask;
	wire_writer_init(&ask->show.out);
	snprintf(ask->show.path, sizeof(ask->show.path), "%s", path);
	read_alone(&ask->show);
}

/* The last target: where it is, when it has moved. */
void show_goto(struct show *s)
{
	ask_number(s, "nmigs");
}

void show_control(struct show *s)
{
	switch (s->entry->arg) {
	case SHOW_CONTROL_HOME:
		ask_number(s, "home");
		return;
	case SHOW_CONTROL_NMIGS:
	default:
		snprintf(s->path, sizeof(s->path), "%s", s->entry->name);
		read_alone(s);
	}
}

/* ---- who asks ---- */

static void self_answered(void *ctx, int status, const void *rep)
{
	const struct msg_proc_local_rep *r = rep;
	struct show *s = ctx;

	if (!status && s->entry->arg)
		text_printf(&s->out, "%u/task/%u", r->cpid, r->tid);
	else if (!status)
		text_printf(&s->out, "%u", r->cpid);
	show_end(s, status == -ESRCH ? -ENOENT : status);
}

void show_self(struct show *s)
{
	s->req.local = (struct msg_proc_local_req){ .caller = s->caller };
	remote_call(s->fs->remote, s->fs->host->node_id, MSG_proc_local, &s->req.local, READ_TIMEOUT_MS, self_answered, s);
}
