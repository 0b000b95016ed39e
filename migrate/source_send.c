/*
 * What the source sends: the pages of memory while CRIU dumps them, the other images when the dump is complete, then the
 * question. CRIU does not say when it has written something, so it is looked at often.
 *
 * What is under way is bounded twice: by what the target has not answered, and, lower, by what the kernel has not taken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/fault.h"
#include "migrate/source.h"

#define PIECE_TIMEOUT_MS 30000
#define VOTE_TIMEOUT_MS 120000
#define PIECES_MAX 32		/* under way: 8 MiB */
#define BACKLOG_MAX (1u << 20)	/* more would only wait here, and leave the cache meanwhile */

#define LOOK_MS 2

static void send_more(struct source *s);

static void looked(uv_timer_t *timer)
{
	send_more(timer->data);
}

static void look_closed(uv_handle_t *timer)
{
	source_unpend(timer->data);
}

int source_send_open(struct source *s)
{
	int r = images_open(&s->images, s->images_path);

	s->piece = malloc(IMAGES_PIECE);
	if (!r && !s->piece)
		r = -ENOMEM;
	if (r)
		return r;
	uv_timer_init(s->svc->loop, &s->look);
	s->look.data = s;
	s->looking = true;
	s->pending++;
	uv_timer_start(&s->look, looked, LOOK_MS, LOOK_MS);
	return 0;
}

void source_send_stop(struct source *s)
{
	if (s->looking)
		uv_close((uv_handle_t *)&s->look, look_closed);
	s->looking = false;
	images_release(&s->images);
}

/* ---- the question ---- */

static void voted(void *ctx, int status, const void *msg)
{
	const struct msg_move_restore_rep *rep = msg;
	struct source *s = ctx;
	const char *node = service_node_name(s->svc, s->p.target);

	s->voted_at = uv_hrtime();
	if (status) {
		source_fail(s, -EHOSTUNREACH, "%s cannot be reached: %s", node, strerror(-status));
		source_feed(s, SOURCE_PEER_LOST);
	} else if (rep->error) {
		source_fail(s, -EOPNOTSUPP, "%s: %s", node, rep->reason);
		source_feed(s, SOURCE_VOTE_NO);
	} else {
		source_feed(s, SOURCE_VOTE_YES);
	}
	source_unpend(s);
}

static void ask_vote(struct source *s, struct rpc_conn *conn)
{
	struct msg_move_restore_req req = {
		.move = s->rec.move,
		.root = (uint32_t)s->tree.procs[0].nspid,
		.pids = { s->pids, s->pids_len },
	};
	int r;

	if (s->leave) {
		const struct job_packet *l = s->leave;

		req.io = (struct wire_jobio){
			.in_ino = (uint64_t)l->arg[0],
			.out_ino = (uint64_t)l->arg[1],
			.err_ino = (uint64_t)l->arg[2],
			.in_off = (uint64_t)l->arg[3],
			.out_off = (uint64_t)l->arg[4],
			.err_off = (uint64_t)l->arg[5],
			.in_ended = l->arg[6] == 1,
			.unread = { l->data, l->len[0] },
		};
	}
	s->asked_vote = true;
	s->bytes = s->images.bytes;
	s->sent_at = uv_hrtime();
	source_send_stop(s);
	s->pending++;
	r = rpc_call(conn, MSG_move_restore, &req, VOTE_TIMEOUT_MS, voted, s);
	if (r)
		voted(s, r, NULL);
}

/* ---- the pieces ---- */

static bool is_sending(const struct source *s)
{
	return (s->state == SOURCE_DUMPING || s->state == SOURCE_SENDING) && !s->asked_vote;
}

static void send_failed(struct source *s, int status)
{
	source_fail(s, status == -ENOSPC ? -ENOSPC : -EHOSTUNREACH, "sending to %s failed: %s",
		    service_node_name(s->svc, s->p.target), strerror(-status));
	source_feed(s, SOURCE_PEER_LOST);
}

static void sent(void *ctx, int status, const void *rep)
{
	struct source *s = ctx;

	(void)rep;
	s->pieces--;
	if (!status && is_sending(s) && fault_hit(FAULT_move_source_sending))
		status = -EIO;
	if (status)
		send_failed(s, status);
	else
		send_more(s);
	source_unpend(s);
}

/* 1: one is on its way; 0: that was all; -EAGAIN: nothing just now, -errno. */
static int send_piece(struct source *s, struct rpc_conn *conn)
{
	struct msg_move_chunk_req req = { .move = s->rec.move };
	size_t len;
	int r = images_next(&s->images, s->piece, &req.file, &req.off, &len);

	if (r <= 0)
		return r;
	req.data = (struct wire_blob){ s->piece, (uint32_t)len };
	r = rpc_call(conn, MSG_move_chunk, &req, PIECE_TIMEOUT_MS, sent, s);
	if (r)
		return r;
	s->pieces++;
	s->pending++;
	return 1;
}

static void send_ready(void *ctx, int status, struct rpc_conn *conn)
{
	struct source *s = ctx;
	int r = status ? status : 1;

	while (r > 0 && is_sending(s) && s->pieces < PIECES_MAX && rpc_conn_backlog(conn) < BACKLOG_MAX)
		r = send_piece(s, conn);
	if (is_sending(s) && r < 0 && r != -EAGAIN)
		send_failed(s, r);
	else if (is_sending(s) && r == 0 && s->pieces == 0)
		ask_vote(s, conn);
	source_unpend(s);
}

static void send_more(struct source *s)
{
	if (!is_sending(s))
		return;
	s->pending++;
	peer_connect(s->svc, s->p.target, send_ready, s);
}

void source_send(struct source *s)
{
	int r = images_complete(&s->images, s->images_path);

	if (r) {
		source_fail(s, r, "cannot read the images: %s", strerror(-r));
		source_feed(s, SOURCE_VOTE_NO);
		return;
	}
	send_more(s);
}
