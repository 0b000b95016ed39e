/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces are copied once and kept as they came; files are texts inside them. */
#include "procfs-cluster/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "procfs-cluster/scan.h"

#define KINDS_MAX PROC_FILE_NR

struct piece {
	struct piece *next;
	uint8_t bytes[];
};

struct snapshot {
	unsigned refs;
	struct piece *pieces;
	struct snapshot_proc *procs;
};

int snapshot_new(struct snapshot **ret_s)
{
	struct snapshot *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	*ret_s = s;
	return 0;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	s->refs++;
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	struct snapshot_proc *p, *next;

	if (!s || --s->refs)
		return;
	HASH_ITER(hh, s->procs, p, next) {
		HASH_DEL(s->procs, p);
		free(p);
	}
	for (struct piece *piece = s->pieces, *after; piece; piece = after) {
		after = piece->next;
		free(piece);
	}
	free(s);
}

static struct snapshot_proc *add_proc(struct snapshot *s, uint32_t cpid)
{
	struct snapshot_proc *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->id.cpid = cpid;
	HASH_ADD(hh, s->procs, id.cpid, sizeof(p->id.cpid), p);
	return p;
}

static void take_files(struct snapshot_proc *p, const struct scan_proc *record)
{
	for (unsigned i = 0; i < record->nr_files; i++) {
		const struct scan_file *f = &record->files[i];

		if (f->number >= KINDS_MAX || !(proc_file_info(f->number)->flags & PF_BULK))
			continue;
		p->have |= 1u << f->number;
		p->failed &= ~(1u << f->number);
		p->files[f->number] = f->text;
		p->states[f->number] = f->state;
		if (f->state != SCAN_DATA)
			p->failed |= 1u << f->number;
	}
}

int snapshot_load(struct snapshot *s, uint32_t node, const void *procs, size_t len, int add)
{
	struct piece *piece = malloc(sizeof(*piece) + len);
	struct wire_reader r;
	struct scan_proc record;
	int got;

	if (!piece)
		return -ENOMEM;
	if (len)
		memcpy(piece->bytes, procs, len);
	piece->next = s->pieces;
	s->pieces = piece;
	r = (struct wire_reader){ piece->bytes, piece->bytes + len };
	while ((got = scan_get(&r, &record)) > 0) {
		struct snapshot_proc *p = snapshot_find(s, record.cpid);

		/* Seen on two nodes while it moves: the first keeps the name, it is the same process. */
		if (p && p->id.node != node)
			continue;
		if (!p && !add)
			continue;
		if (!p)
			p = add_proc(s, record.cpid);
		if (!p)
			return -ENOMEM;
		p->id = (struct ident){ record.cpid,	 node,	     record.pid,     record.uid, record.gid,
					record.file_uid, record.file_gid };
		take_files(p, &record);
	}
	return got;
}

static int by_cpid(const struct snapshot_proc *a, const struct snapshot_proc *b)
{
	return a->id.cpid < b->id.cpid ? -1 : a->id.cpid > b->id.cpid;
}

void snapshot_sort(struct snapshot *s)
{
	HASH_SORT(s->procs, by_cpid);
}

struct snapshot_proc *snapshot_find(const struct snapshot *s, uint32_t cpid)
{
	struct snapshot_proc *p;

	HASH_FIND(hh, s->procs, &cpid, sizeof(cpid), p);
	return p;
}

size_t snapshot_count(const struct snapshot *s)
{
	return HASH_COUNT(s->procs);
}

struct snapshot_proc *snapshot_next(const struct snapshot *s, struct snapshot_proc *p)
{
	return p ? p->hh.next : s->procs;
}
