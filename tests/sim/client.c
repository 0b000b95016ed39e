#include "tests/sim/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/config.h"
#include "common/bytes.h"
#include "fuse/client_core.h"
#include "tests/sim/check.h"
#include "tests/sim/net.h"
#include "wire/fileop.h"

enum { AT_ONCE = 3 };

struct client_op {
	struct core_op core;
	struct sim_client *c;
	struct check_op *op;
	uint64_t conn_number; /* of the connection it was sent on */
};

struct sim_client {
	struct sim *sim;
	uint32_t proc;
	uint64_t session, values;
	struct client_core core;
	struct config config;
	struct net_conn *server, *watch;
	uint32_t watch_node;
	uint64_t conn_number; /* answers on an earlier connection are not for us */
	bool asking;
	uint64_t inos[CHECK_NAMES]; /* as last seen */
	struct wire_logpos loss;
	uint64_t nr_losses;
	struct dirty {
		uint64_t ino, losses, changed; /* changed before so many losses and not synced; the last time */
	} *dirty;
	size_t nr_dirty, nr_opens;
	size_t under_way;
};

static void step(struct sim_client *c, struct core_event *ev);

static uint64_t clock_ms(const struct sim_client *c)
{
	return world_clock_ms(&c->sim->world, c->proc);
}

/* ---- operations on the wire ---- */

static void remember(struct sim_client *c, const struct check_op *op)
{
	if (op->kind <= OP_CREATE && op->kind != OP_READ && !op->status && op->ret_ino)
		c->inos[op->name] = op->ret_ino;
}

static void take_answer(struct check_op *op, const void *rep)
{
	const struct msg_lookup_rep *lookup = rep;
	const struct msg_create_rep *create = rep;
	const struct msg_write_rep *wr = rep;
	const struct msg_read_rep *rd = rep;

	switch (op->kind) {
	case OP_LOOKUP:
		op->ret_ino = lookup->attr.ino;
		break;
	case OP_CREATE:
		op->ret_ino = create->attr.ino;
		break;
	case OP_APPEND:
	case OP_WRITE:
		op->ret_off = wr->off;
		break;
	case OP_READ:
		op->ret_len = rd->data.len;
		op->ret_data = malloc(rd->data.len + 1);
		assert(op->ret_data);
		if (rd->data.len)
			memcpy(op->ret_data, rd->data.p, rd->data.len);
		break;
	default:
		break;
	}
}

/* ---- what is not synced: as fuse/inode.h ---- */

static struct dirty *dirty_of(struct sim_client *c, uint64_t ino)
{
	for (size_t i = 0; i < c->nr_dirty; i++)
		if (c->dirty[i].ino == ino)
			return &c->dirty[i];
	return NULL;
}

static void note_dirty(struct sim_client *c, const struct check_op *op)
{
	uint64_t ino = op->kind == OP_CREATE ? op->ret_ino : op->ino;
	struct dirty *d = dirty_of(c, ino);

	if (op->status || (op->kind != OP_CREATE && op->kind != OP_APPEND && op->kind != OP_WRITE))
		return;
	if (!d) {
		c->dirty = realloc(c->dirty, (c->nr_dirty + 1) * sizeof(*d));
		assert(c->dirty);
		d = &c->dirty[c->nr_dirty++];
		*d = (struct dirty){ .ino = ino, .losses = c->nr_losses };
	}
	d->changed = c->sim->world.now;
}

/* An fsync that went well says so only when nothing was lost before. */
static void synced(struct sim_client *c, struct check_op *op)
{
	struct dirty *d = dirty_of(c, op->ino);

	if (op->status || !d)
		return;
	if (d->losses != c->nr_losses)
		op->status = -EIO;
	else if (d->changed >= op->called)
		return;
	*d = c->dirty[--c->nr_dirty];
}

static void answered(void *ctx, int status, const void *rep)
{
	struct client_op *o = ctx;
	struct core_event ev = { .kind = CORE_EV_REPLY, .op = &o->core, .status = status };

	if (!status)
		take_answer(o->op, rep);
	step(o->c, &ev);
}

static void call(struct sim_client *c, struct client_op *o, enum msg_type type, const void *req)
{
	net_call(c->sim->net, c->server, c->proc, type, req, 0, answered, o, NULL);
}

static void send_op(struct sim_client *c, struct client_op *o)
{
	struct check_op *op = o->op;
	struct wire_ophdr h = { .fs = SIM_FS,
				.epoch = c->core.session_epoch,
				.session = c->session,
				.slot = o->core.slot,
				.seq = o->core.seq };
	char name[8], to[8];
	uint8_t bytes[CHECK_WRITE_MAX];

	if (!c->server || !net_conn_is_up(c->server, c->proc)) {
		struct core_event ev = { .kind = CORE_EV_REPLY, .op = &o->core, .status = -ENOTCONN };

		step(c, &ev);
		return;
	}
	op->session = c->session;
	op->slot = h.slot;
	op->seq = o->core.change ? h.seq : 0;
	snprintf(name, sizeof(name), "n%u", op->name);
	snprintf(to, sizeof(to), "n%u", op->to);
	for (uint32_t at = 0; at < op->len; at += 8)
		put_le64(bytes + at, op->value);
	switch (op->kind) {
	case OP_LOOKUP:
		call(c, o, MSG_lookup, &(struct msg_lookup_req){ .h = h, .parent = 1, .entry = name });
		break;
	case OP_FSYNC:
		call(c, o, MSG_fsync, &(struct msg_fsync_req){ .h = h, .ino = op->ino });
		break;
	case OP_READ:
		call(c, o, MSG_read, &(struct msg_read_req){ .h = h, .ino = op->ino, .len = 1 << 20 });
		break;
	case OP_CREATE:
		call(c, o, MSG_create,
		     &(struct msg_create_req){ .h = h, .parent = 1, .entry = name, .mode = 0100644, .flags = CREATE_EXCL });
		break;
	case OP_UNLINK:
		call(c, o, MSG_unlink, &(struct msg_unlink_req){ .h = h, .parent = 1, .entry = name });
		break;
	case OP_RENAME:
		call(c, o, MSG_rename,
		     &(struct msg_rename_req){ .h = h, .parent = 1, .entry = name, .new_parent = 1, .new_entry = to });
		break;
	case OP_APPEND:
	case OP_WRITE:
		call(c, o, MSG_write,
		     &(struct msg_write_req){ .h = h,
					      .ino = op->ino,
					      .flags = op->kind == OP_APPEND ? WRITE_APPEND : 0,
					      .data = { bytes, op->len } });
		break;
	default:
		assert(false);
	}
}

/* ---- the application ---- */

static void submit(struct sim_client *c)
{
	struct world *w = &c->sim->world;
	struct client_op *o = calloc(1, sizeof(*o));
	struct core_event ev = { .kind = CORE_EV_SUBMIT };
	enum op_kind kind = (enum op_kind)world_between(w, 0, OP_KINDS - 1);
	uint32_t name = (uint32_t)world_between(w, 0, CHECK_NAMES - 1);

	assert(o);
	if ((kind == OP_READ || kind == OP_FSYNC || kind == OP_APPEND || kind == OP_WRITE) && !c->inos[name])
		kind = world_chance(w, 500000) ? OP_CREATE : OP_LOOKUP;
	o->c = c;
	o->op = check_call(c->sim->check, c->proc, kind);
	o->op->name = name;
	o->op->to = (name + 1 + (uint32_t)world_between(w, 0, CHECK_NAMES - 2)) % CHECK_NAMES;
	o->op->ino = c->inos[name];
	o->op->value = (uint64_t)c->proc << 56 | ++c->values;
	o->op->len = world_chance(w, 500000) ? CHECK_WRITE_MAX : 8;
	o->core.change = kind >= OP_CREATE;
	ev.op = &o->core;
	c->under_way++;
	step(c, &ev);
}

static void finished(struct sim_client *c, struct client_op *o)
{
	o->op->status = o->core.status;
	if (o->op->kind == OP_FSYNC)
		synced(c, o->op);
	else
		note_dirty(c, o->op);
	check_answer(c->sim->check, o->op);
	remember(c, o->op);
	c->under_way--;
	free(o);
}

static void app(void *arg)
{
	struct sim_client *c = arg;

	if (c->sim->storm && c->under_way < AT_ONCE)
		submit(c);
	world_after(&c->sim->world, c->proc, world_between(&c->sim->world, 1 * MS, 30 * MS), app, c, NULL);
}

/* ---- the core's wishes ---- */

static void opened(void *ctx, int status, const void *rep)
{
	struct sim_client *c = ctx;
	const struct msg_session_open_rep *m = rep;
	struct core_event ev = { .kind = CORE_EV_OPENED, .status = status };

	if (status == -ECANCELED || status == -ECONNRESET)
		return; /* `down` follows, or we closed it */
	if (!status) {
		ev.epoch = m->epoch;
		ev.slots = m->slots;
		if (c->nr_opens++ && (m->loss.epoch != c->loss.epoch || m->loss.lsn != c->loss.lsn))
			c->nr_losses++;
		c->loss = m->loss;
	}
	step(c, &ev);
}

static void probed(void *ctx, int status, const void *rep)
{
	struct core_event ev = { .kind = CORE_EV_PROBED, .status = status };

	(void)rep;
	if (status != -ECANCELED && status != -ECONNRESET)
		step(ctx, &ev);
}

static void carry_out(struct sim_client *c, const struct core_update *u)
{
	struct net *net = c->sim->net;

	if (u->flags & CORE_DISCONNECT && c->server) {
		struct net_conn *old = c->server;

		c->server = NULL;
		net_close(net, old, c->proc);
	}
	if (u->flags & CORE_CONNECT)
		c->server = net_connect(net, c->proc, u->node);
	if (u->flags & CORE_OPEN && c->core.state == CORE_OPENING)
		net_call(net, c->server, c->proc, MSG_session_open,
			 &(struct msg_session_open_req){ .fs = SIM_FS, .epoch = u->epoch, .session = c->session, .client = "sim" },
			 2000 * MS, opened, c, NULL);
	if (u->flags & CORE_PROBE && c->core.probing)
		net_call(net, c->server, c->proc, MSG_ping, &(struct msg_ping_req){ 0 }, 1000 * MS, probed, c, NULL);
}

static void step(struct sim_client *c, struct core_event *ev)
{
	struct core_update u;
	struct core_op *op;

	core_step(&c->core, ev, clock_ms(c), &u);
	if (u.flags) {
		world_log(&c->sim->world, c->proc, "client: event %d status %d: flags %x node %u, state %d", ev->kind,
			  ev->status, u.flags, u.node, c->core.state);
		carry_out(c, &u);
	}
	while ((op = core_take(&c->core, clock_ms(c))))
		send_op(c, (struct client_op *)op);
	while ((op = core_finished(&c->core)))
		finished(c, (struct client_op *)op);
}

static void tick(void *arg)
{
	struct sim_client *c = arg;
	struct core_event ev = { .kind = CORE_EV_TICK };

	if (core_deadline(&c->core) <= clock_ms(c))
		step(c, &ev);
	world_after(&c->sim->world, c->proc, 5 * MS, tick, c, NULL);
}

/* ---- the configuration: any node is asked, again and again ---- */

static void got_config(void *ctx, int status, const void *rep)
{
	struct sim_client *c = ctx;
	const struct msg_config_get_rep *m = rep;
	struct config got;
	const struct config_fs *fs;
	struct core_event ev = { .kind = CORE_EV_CONFIG };

	c->asking = false;
	if (status || config_decode(m->config.p, m->config.len, &got) || got.version <= c->config.version)
		return;
	c->config = got;
	fs = config_fs_by_id(&c->config, SIM_FS);
	if (!fs)
		return;
	ev.server = fs->server;
	ev.epoch = fs->epoch;
	step(c, &ev);
}

static void watch(void *arg)
{
	struct sim_client *c = arg;
	struct net *net = c->sim->net;

	if (!c->watch) {
		c->watch_node = (uint32_t)world_between(&c->sim->world, 1, SIM_NODES);
		c->watch = net_connect(net, c->proc, c->watch_node);
	} else if (net_conn_is_up(c->watch, c->proc) && !c->asking) {
		c->asking = true;
		net_call(net, c->watch, c->proc, MSG_config_get, &(struct msg_config_get_req){ 0 }, 300 * MS, got_config, c,
			 NULL);
		if (world_chance(&c->sim->world, 100000)) {
			struct net_conn *old = c->watch;

			c->watch = NULL;
			net_close(net, old, c->proc);
			c->asking = false;
		}
	}
	world_after(&c->sim->world, c->proc, 40 * MS, watch, c, NULL);
}

/* ---- life ---- */

static void up(void *ctx, struct net_conn *conn, uint32_t peer, bool dialled)
{
	struct sim_client *c = ctx;
	struct core_event ev = { .kind = CORE_EV_UP };

	(void)peer;
	(void)dialled;
	if (conn == c->server)
		step(c, &ev);
}

static void down(void *ctx, struct net_conn *conn, uint32_t peer)
{
	struct sim_client *c = ctx;
	struct core_event ev = { .kind = CORE_EV_DOWN, .status = -ECONNRESET };

	(void)peer;
	if (conn == c->watch) {
		c->watch = NULL;
		c->asking = false;
	} else if (conn == c->server) {
		c->server = NULL;
		step(c, &ev);
	}
}

static void request(void *ctx, struct net_request *rq)
{
	struct sim_client *c = ctx;

	net_reply(c->sim->net, rq, -ENOSYS, NULL);
}

static const struct net_events events = { up, down, request };

struct sim_client *sim_client_new(struct sim *s, uint32_t proc)
{
	struct sim_client *c = calloc(1, sizeof(*c));

	assert(c);
	c->sim = s;
	c->proc = proc;
	c->session = world_rand(&s->world) | 1;
	core_init(&c->core, 0);
	return c;
}

void sim_client_free(struct sim_client *c)
{
	struct core_op *lists[] = { c ? c->core.queue : NULL, c ? c->core.sent : NULL, c ? c->core.finished : NULL };

	for (size_t i = 0; c && i < ARRAY_LEN(lists); i++)
		for (struct core_op *op = lists[i], *next; op; op = next) {
			next = op->next;
			free(op);
		}
	if (c)
		free(c->dirty);
	free(c);
}

void sim_client_start(struct sim_client *c)
{
	world_start(&c->sim->world, c->proc);
	net_attach(c->sim->net, c->proc, &events, c);
	watch(c);
	tick(c);
	app(c);
}

bool sim_client_idle(const struct sim_client *c)
{
	return !c->under_way;
}
