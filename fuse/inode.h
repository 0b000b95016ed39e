/*
 * The inodes the kernel knows (lookup count) or has open, and whether the server was told so.
 *
 * The server counts holds: one for each open and each create it was asked for, one less for each release. It is asked
 * once for all opens here, and released some time after the last is gone (idle: the next open needs not ask). Asking takes time, and other opens and closes go on
 * meanwhile: an inode is CLOSED -> OPENING -> OPEN -> CLOSING -> CLOSED, and opens that come while it is OPENING or
 * CLOSING wait in its list. A create brings a hold in any state. op_open.c moves the states.
 */
#ifndef CFS_FUSE_INODE_H
#define CFS_FUSE_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/codec.h"

struct request;
struct inodes;

enum inode_state { INODE_CLOSED, INODE_OPENING, INODE_OPEN, INODE_CLOSING };

struct inode {
	uint64_t ino;
	uint64_t nr_lookups;
	uint32_t nr_opens; /* files open here, and opens under way */
	uint32_t nr_io;	   /* reads and writes under way at the server */
	enum inode_state state;
	uint64_t changes;  /* counts those that were answered */
	uint64_t unsynced; /* 0: none; else of those not synced the first came after so many losses, less one */
	uint32_t nr_holds;	 /* that the server counts for us; a release under way is taken off already */
	struct request *waiters; /* opens to go on with when the state settles */
	bool idle;		 /* OPEN without opens: in the mount's list */
	uint64_t idle_ms;	 /* since when */
	struct inode *prev, *next;
};

int inodes_new(struct inodes **ret_table);
void inodes_free(struct inodes *t);

/* NULL when the table does not have it. Borrowed until inode_settle(). */
struct inode *inode_find(struct inodes *t, uint64_t ino);
/* NULL when out of memory. */
struct inode *inode_find_or_add(struct inodes *t, uint64_t ino);
/* Forgets the inode if nothing holds it any more. */
void inode_settle(struct inodes *t, struct inode *in);

/* The kernel got one more reference. 0 or -ENOMEM. */
int inode_lookup(struct inodes *t, uint64_t ino);
/* The kernel gave N references back. */
void inode_forget(struct inodes *t, uint64_t ino, uint64_t n);

/*
 * Changes that the server answered and nobody synced since are lost when all servers lose power; LOSSES counts how often
 * that happened. Whoever asks for a sync next must hear of it, once.
 */
void inode_changed(struct inode *in, uint64_t losses);
/* A sync has succeeded that was asked for when in->changes was CHANGES. 0, or -EIO: some of them may be lost. */
int inode_synced(struct inode *in, uint64_t changes, uint64_t losses);

/* Appends the holds a server that has forgotten shall count, before what is under way is asked again: packed le64. */
void inodes_encode_holds(struct inodes *t, struct wire_writer *w);
/* Calls FN for each inode with opens. */
void inodes_for_each_open(struct inodes *t, void (*fn)(void *ctx, uint64_t ino), void *ctx);
size_t inodes_count(const struct inodes *t);

#endif
