/*
 * The channel between cfs-migrated and cfs-job: packets over an AF_UNIX SOCK_SEQPACKET socket, same machine, same root.
 *
 * One packet is one request or its reply: op and seq say which. A cfs-job outlives cfs-migrated, so a newer
 * cfs-migrated may meet an older cfs-job: JOB_VERSION is checked at hello, and a job of another version is left alone.
 */
#ifndef CFS_MIGRATE_CHAN_H
#define CFS_MIGRATE_CHAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define JOB_VERSION 1
#define JOB_STREAM_CHUNK 65536u /* most bytes of one stream in a packet */
#define JOB_DATA_MAX (2u * JOB_STREAM_CHUNK)

enum job_op {
	/* arg[0] version. -> arg: version, enum job_state, root pid, wait status; data: what JOB_KEEP left; while a restore
	   is held, CRIU's RPC socket as descriptor. */
	JOB_HELLO = 1,
	/* data: kept for the next JOB_HELLO (the job's identity, opaque to cfs-job). */
	JOB_KEEP,
	/* Starts `criu swrk` in the job's namespaces. arg: CRIU_FOR_*, pid after which new pids are taken (0: any).
	   -> its RPC socket as descriptor. */
	JOB_CRIU,
	/* Makes stdio pipes for a restore. Layout of the request: see JOB_LEAVE. -> arg[0..2]: numbers of the job's ends of
	   the pipes in the table of a CRIU started after this, -1 where there is none. */
	JOB_PIPES,
	/* Starts a command. data: an encoded job_start request; arg[0]: the pid to try first. -> root pid. */
	JOB_EXEC,
	/* The restore is told to go on. arg: root pid, 1 when somebody waits for the exit status. */
	JOB_RESUMED,
	/* arg: wanted offsets of stdout, stderr (all before is acknowledged). Answered when there is news: arg: offsets of
	   the data, flags, wait status; data: stdout, stderr. */
	JOB_READ,
	/* arg: offset, 1 at the end of the input; data. Answered when it is in the pipe: arg: offset reached, flags. */
	JOB_WRITE,
	/* The root is stopped for a move. -> arg[0..2] inode numbers of stdin, stdout, stderr pipe (0: none), arg[3..5] their
	   offsets, arg[6] 1 when stdin has ended; data: what the job has not read of its stdin. */
	JOB_LEAVE,
	JOB_STAY,   /* the move was called off */
	JOB_LEFT,   /* the move is decided: serve what is left of the output, then end */
	JOB_SIGNAL, /* arg: signal, to the root's process group */
	JOB_COLLECTED, /* the exit status was fetched: nobody waits any more */
	JOB_QUIT,   /* kill everything and end */
};

enum job_state { JOB_EMPTY, JOB_HELD, JOB_RUNNING, JOB_LEAVING, JOB_AWAY, JOB_ENDED };

enum { CRIU_FOR_DUMP = 0, CRIU_FOR_RESTORE = 1 };

/* flags of a JOB_READ reply */
enum {
	JOB_OUT_EOF = 1 << 0,
	JOB_ERR_EOF = 1 << 1,
	JOB_EXITED = 1 << 2, /* arg[3] is the wait status */
	JOB_GONE = 1 << 3,   /* the job moved away; nothing more comes from here */
	JOB_BROKEN = 1 << 4, /* of a JOB_WRITE reply: nobody will read it */
};

struct job_packet {
	uint32_t op, seq;
	int32_t status; /* of a reply: 0 or -errno */
	uint32_t reply;
	int64_t arg[8];
	uint32_t len[2]; /* bytes of data[]: two parts, one after the other */
	uint8_t data[JOB_DATA_MAX];
};

/* Sends PKT with FD (-1: none) attached. 0 or -errno (-EAGAIN: the socket is full). */
int chan_send(int sock, const struct job_packet *pkt, int fd);
/* Receives one packet and up to one descriptor (-1: none). 0, -ECONNRESET at the end, -EAGAIN, -EBADMSG, -errno. */
int chan_recv(int sock, struct job_packet *ret_pkt, int *ret_fd);

#endif
